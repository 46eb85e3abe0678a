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

}  // namespace kurultai
