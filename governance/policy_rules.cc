#include "governance/policy_rules.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "protocol/json_text.h"
#include "protocol/words.h"

namespace kurultai {

using nlohmann::json;

namespace {

json agent_json(const AgentRules& agent) {
  return {{"preemptable", agent.preemptable},
          {"suspendable", agent.suspendable},
          {"protect", agent.is_protected}};
}

AgentRules parse_agent(const json& object) {
  return {object.at("preemptable").get<bool>(), object.at("suspendable").get<bool>(),
          object.at("protect").get<bool>()};
}

std::size_t size_in(const json& object, const std::string& name) {
  const json& value = object.at(name);
  if (!value.is_number_unsigned()) throw std::invalid_argument("'" + name + "' is no number of tasks");
  return value.get<std::size_t>();
}

// Differences of it and of anything used are still numbers.
constexpr Bytes most_budget{std::int64_t{1} << 60};

/// In (0, 1], or it is no share.
double share_in(const json& object, const std::string& name, double least) {
  const auto share = object.at(name).get<double>();
  if (!(share >= least && share <= 1)) throw std::invalid_argument("'" + name + "' is no share");
  return share;
}

QueueLimits parse_limits(const json& object) {
  QueueLimits limits;
  limits.max_depth = size_in(object, "maxDepth");
  for (const Priority priority : all_priorities) {
    limits.per_level.at(static_cast<std::size_t>(priority)) =
        size_in(object.at("limits"), std::string(to_string(priority)));
  }
  return limits;
}

PolicyRules parse_rules_whole(const json& object) {
  PolicyRules rules;
  rules.budget = {whole_of(object.at("budgetBytes"))};
  if (rules.budget <= Bytes{} || rules.budget > most_budget)
    throw std::invalid_argument("'budgetBytes' is no budget");
  const json& thresholds = object.at("thresholds");
  for (std::size_t i = 0; i < threshold_count; ++i) {
    rules.thresholds.ratio.at(i) =
        share_in(thresholds, std::string(to_string(static_cast<Threshold>(i))), 1e-9);
  }
  rules.thresholds.hysteresis = share_in(object, "hysteresis", 0);
  rules.governs = object.at("governs").get<bool>();
  rules.ends_idle = object.at("endsIdle").get<bool>();
  rules.suspends = object.at("suspends").get<bool>();
  rules.preempts = object.at("preempts").get<bool>();
  rules.predicts = object.value("predicts", false);
  rules.admits = object.at("admits").get<bool>();
  rules.queue = parse_limits(object.at("queue"));
  for (const auto& [name, agent] : object.at("agents").items())
    rules.agents.emplace(name, parse_agent(agent));
  return rules;
}

}  // namespace

json to_json(const PolicyRules& rules) {
  json thresholds = json::object();
  for (std::size_t i = 0; i < threshold_count; ++i)
    thresholds[std::string(to_string(static_cast<Threshold>(i)))] = rules.thresholds.ratio.at(i);
  json limits = json::object();
  for (const Priority priority : all_priorities) {
    limits[std::string(to_string(priority))] = rules.queue.per_level.at(static_cast<std::size_t>(priority));
  }
  json agents = json::object();
  for (const auto& [name, agent] : rules.agents) agents[name] = agent_json(agent);
  return {{"budgetBytes", rules.budget.count},
          {"thresholds", std::move(thresholds)},
          {"hysteresis", rules.thresholds.hysteresis},
          {"governs", rules.governs},
          {"endsIdle", rules.ends_idle},
          {"suspends", rules.suspends},
          {"predicts", rules.predicts},
          {"preempts", rules.preempts},
          {"admits", rules.admits},
          {"queue", {{"maxDepth", rules.queue.max_depth}, {"limits", std::move(limits)}}},
          {"agents", std::move(agents)}};
}

Result<PolicyRules> parse_policy_rules(const json& object) {
  try {
    return parse_rules_whole(object);
  } catch (const std::exception& error) {  // of the JSON library: a field is missing or of another type
    return failure(std::string("rules: ") + error.what());
  }
}

}  // namespace kurultai
