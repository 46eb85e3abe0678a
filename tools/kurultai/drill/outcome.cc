#include "tools/kurultai/drill/outcome.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string share(Bytes part, Bytes whole) {
  const double ratio =
      whole.count > 0 ? static_cast<double>(part.count) / static_cast<double>(whole.count) : 0;
  return fixed(100 * ratio, 1) + " %";
}

std::string leak_text(const DrillOutcome& outcome) {
  if (outcome.leak_end.empty()) return "nothing stopped it";
  std::string text =
      outcome.leak_end + " after " + brief(outcome.leak_ran) + ", with " + brief(outcome.leak_peak);
  if (outcome.leak_ratio > 0) text += ", at " + fixed(100 * outcome.leak_ratio, 1) + " % of the budget";
  if (outcome.reaction_ms)
    text += ", gone " + fixed(*outcome.reaction_ms, 1) + " ms after the decision's reading";
  return text;
}

std::string bystander_text(const DrillBystander& one) {
  return one.state + ", " + std::to_string(one.rounds) +
         " rounds of fork, pipe, file and memory, the longest " + fixed(one.longest_ms, 1) + " ms, " +
         std::to_string(one.errors) + " errors";
}

nlohmann::json bystander_json(const DrillBystander& one) {
  return {{"priority", one.priority},
          {"state", one.state},
          {"rounds", one.rounds},
          {"errors", one.errors},
          {"longestMs", one.longest_ms}};
}

}  // namespace

Config drill_configuration(Config config, Bytes most) {
  config.memory.budget = std::min(config.memory.budget.value_or(most), most);
  config.agents.clear();
  config.admission = AdmissionRule::none;  // the leak is to be let in
  config.workers.max = 3;
  config.workers.memory_limit = *config.memory.budget;
  config.workers.memory_warning = *config.memory.budget;
  config.queue = QueueLimits{};
  config.gateway = GatewayConfig{};
  config.gateway.listen = "none";
  config.exec = ExecConfig{};
  config.exec.allow = true;
  return config;
}

std::string to_report(const DrillOutcome& outcome) {
  const auto line = [](std::string name, const std::string& text) {
    name.resize(12, ' ');
    return name + text + "\n";
  };
  return line("guarantee", outcome.guarantee + ": " + outcome.explanation) +
         line("budget", brief(outcome.budget)) + line("leak", leak_text(outcome)) +
         line("healthy", bystander_text(outcome.healthy)) +
         line("important", bystander_text(outcome.important)) +
         line("highest use", brief(outcome.highest) + ", " + share(outcome.highest, outcome.budget)) +
         line("verdict", outcome.is_survived() ? "survived: the leak alone paid" : "NOT survived");
}

std::string to_json(const DrillOutcome& outcome) {
  nlohmann::json leak = {{"end", outcome.leak_end},
                         {"peakBytes", outcome.leak_peak.count},
                         {"ranMs", outcome.leak_ran.count()},
                         {"ratio", outcome.leak_ratio}};
  leak["reactionMs"] = outcome.reaction_ms ? nlohmann::json(*outcome.reaction_ms) : nlohmann::json();
  const nlohmann::json whole = {
      {"survived", outcome.is_survived()},          {"guarantee", outcome.guarantee},
      {"explanation", outcome.explanation},         {"budgetBytes", outcome.budget.count},
      {"highestBytes", outcome.highest.count},      {"leak", std::move(leak)},
      {"healthy", bystander_json(outcome.healthy)}, {"important", bystander_json(outcome.important)}};
  return whole.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace kurultai
