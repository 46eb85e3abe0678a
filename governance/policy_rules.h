// What of a configuration decides about memory: as much as a recording has to carry so that its decisions can
// be made again, and nothing else (no command, no environment). Pure.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "governance/pressure.h"
#include "governance/task_queue.h"
#include "protocol/bytes.h"
#include "protocol/error.h"

namespace kurultai {

struct AgentRules {
  bool preemptable = true;
  bool suspendable = true;
  bool is_protected = false;
};

struct PolicyRules {
  Bytes budget;
  Thresholds thresholds;
  bool governs = true;  // false: decisions are told of, and not carried out
  bool ends_idle = true, suspends = true, preempts = true;  // the rungs of the ladder
  bool predicts = false;  // tasks may be asked before a threshold is reached
  bool admits = true;     // a task starts only where it fits
  QueueLimits queue;
  std::map<std::string, AgentRules, std::less<>> agents;
};

nlohmann::json to_json(const PolicyRules& rules);
/// The reverse. The error names the field.
Result<PolicyRules> parse_policy_rules(const nlohmann::json& object);

}  // namespace kurultai
