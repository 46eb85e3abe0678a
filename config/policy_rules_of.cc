#include "config/policy_rules_of.h"

namespace kurultai {

PolicyRules policy_rules_of(const Config& config, Bytes machine) {
  PolicyRules rules;
  rules.budget = config.memory.budget.value_or(machine);
  rules.thresholds = config.memory.thresholds;
  rules.governs = config.flags.memory_governance;
  rules.ends_idle = config.memory.ladder.end_idle;
  rules.suspends = config.memory.ladder.suspend;
  rules.preempts = config.memory.ladder.preempt;
  rules.predicts = config.memory.predict;
  rules.admits = config.admission != AdmissionRule::none;
  rules.queue = config.queue;
  for (const auto& [name, agent] : config.agents)
    rules.agents[name] = {agent.preemptable, agent.suspendable, agent.protect};
  return rules;
}

}  // namespace kurultai
