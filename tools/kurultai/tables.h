// Tables that more than one command prints, of lists as the supervisor sends them; empty for an empty list.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace kurultai {

/// Running, suspended and queued ones in the given order, then those that ended, the newest first.
std::string task_table(const nlohmann::json& tasks);

std::string worker_table(const nlohmann::json& workers);

}  // namespace kurultai
