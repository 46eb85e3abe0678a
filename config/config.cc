#include "config/config.h"

#include <algorithm>

namespace kurultai {

std::string_view to_string(AgentProtocol protocol) {
  switch (protocol) {
    case AgentProtocol::jsonl:
      return "jsonl";
    case AgentProtocol::exec:
      return "exec";
    case AgentProtocol::mcp:
      return "mcp";
  }
  return "jsonl";
}

bool is_hosted(AgentProtocol protocol) {
  return protocol == AgentProtocol::exec || protocol == AgentProtocol::mcp;
}

int most_workers(const AgentConfig& agent) {
  return agent.max_workers == 0 && agent.protocol == AgentProtocol::mcp ? 1 : agent.max_workers;
}

Bytes memory_limit_of(const AgentConfig& agent, const Config& config) {
  return agent.memory_limit.value_or(config.workers.memory_limit);
}

Bytes memory_warning_of(const AgentConfig& agent, const Config& config) {
  return std::min(agent.memory_warning.value_or(config.workers.memory_warning),
                  memory_limit_of(agent, config));
}

Duration leak_interval_of(const MemoryConfig& memory) {
  switch (memory.monitoring_tier) {
    case MonitoringTier::production:
      return memory.leak_interval.count() > 0 ? memory.leak_interval : Duration(std::chrono::seconds(60));
    case MonitoringTier::development:
      return memory.leak_interval.count() > 0 ? memory.leak_interval : Duration(std::chrono::seconds(10));
    case MonitoringTier::disabled:
      break;
  }
  return Duration(0);
}

int most_workers(const Config& config, Bytes budget) {
  // No interpreter is smaller; more processes than that are of no use to anybody's memory.
  static constexpr std::int64_t smallest = mebibytes(16).count;
  static constexpr std::int64_t most = 1000;
  return config.workers.max.value_or(
      static_cast<int>(std::clamp<std::int64_t>(budget.count / smallest, 1, most)));
}

bool has_private_home(const AgentConfig& agent) { return agent.home == private_home; }

bool has_place(const AgentConfig& agent) { return has_private_home(agent) || agent.tmp.is_private; }

}  // namespace kurultai
