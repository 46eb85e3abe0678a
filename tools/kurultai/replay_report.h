// What a replay has found, for a person and for a program. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "governance/policy_replay.h"

namespace kurultai {

struct TriedPolicy {
  std::string name;  // the configuration's file; empty: what was in effect
  PolicyReplay replay;
};

struct ReplayReport {
  std::string file;
  LifeHeader header;
  LifeTally life;
  std::vector<TriedPolicy> policies;
};

/// A table with what was done beside what each policy would have done, the curve of memory of each with its
/// thresholds and deeds, and the first deeds by name.
std::string to_text(const ReplayReport& report);
nlohmann::json to_json(const ReplayReport& report);

}  // namespace kurultai
