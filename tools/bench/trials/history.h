// The supervisor's events, as the contract words them, turned into what happened to each task. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "tools/bench/trials/judge.h"

namespace kurultai::bench {

/// The subjects with their turns, as `events` tell them in the order in which they came. Events of others
/// are passed over.
std::vector<Subject> told_by(const std::vector<nlohmann::json>& events, std::vector<Subject> subjects);

}  // namespace kurultai::bench
