#include "config/config.h"

#include <algorithm>

namespace kurultai {

Bytes memory_limit_of(const AgentConfig& agent, const Config& config) {
  return agent.memory_limit.value_or(config.workers.memory_limit);
}

Bytes memory_warning_of(const AgentConfig& agent, const Config& config) {
  return std::min(agent.memory_warning.value_or(config.workers.memory_warning),
                  memory_limit_of(agent, config));
}

int most_workers(const Config& config, Bytes budget) {
  // No interpreter is smaller; more processes than that are of no use to anybody's memory.
  static constexpr std::int64_t smallest = mebibytes(16).count;
  static constexpr std::int64_t most = 1000;
  return config.workers.max.value_or(
      static_cast<int>(std::clamp<std::int64_t>(budget.count / smallest, 1, most)));
}

}  // namespace kurultai
