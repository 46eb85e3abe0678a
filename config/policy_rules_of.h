// What of a configuration decides about memory, for a recording and for trying it on one.
#pragma once

#include "config/config.h"
#include "governance/policy_rules.h"

namespace kurultai {

/// `machine` is the budget where that is auto.
PolicyRules policy_rules_of(const Config& config, Bytes machine);

}  // namespace kurultai
