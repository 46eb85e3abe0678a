#include "config/health_setting.h"

#include <algorithm>
#include <string>

#include "config/near_name.h"

namespace kurultai {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

const Choice<HealthStrategy> strategies{{{"passive", HealthStrategy::passive},
                                         {"ping", HealthStrategy::ping},
                                         {"command", HealthStrategy::command}}};
// A thousand workers are checked within 200 ms, so a few of them within ten.
constexpr TimeSpan interval{milliseconds(10), hours(24)};
constexpr TimeSpan timeout{milliseconds(1), hours(24)};
constexpr WholeNumber failures{1, 100};
const Texts command{{"a word", any_text, ""}, false};

constexpr std::string_view needs_command =
    "command needs the program to run, as in {strategy: command, command: [check.sh]}";

void refuse_key(const YamlNode::Entry& entry, const Refuse& refuse) {
  const std::vector<std::string> names = {"strategy", "command", "interval", "timeout", "failures"};
  std::string text = "unknown key " + in_quotes(entry.key);
  const auto near = near_name(entry.key, names);
  text += near ? ", did you mean '" + *near + "'?"
               : "; known here: strategy, command, interval, timeout, failures";
  refuse(entry.at, text);
}

/// Reads one entry into `health`; false when it was refused.
bool read_entry(const YamlNode::Entry& entry, HealthConfig& health, const Refuse& refuse) {
  const Refuse named = [&](Position at, const std::string& text) { refuse(at, entry.key + ": " + text); };
  const auto into = [](const auto& value, auto& field) {
    using Field = std::remove_reference_t<decltype(field)>;
    if (value) field = static_cast<Field>(*value);
    return value.has_value();
  };
  if (entry.key == "strategy") return into(strategies.read(entry.value, named), health.rule.strategy);
  if (entry.key == "command") return into(command.read(entry.value, named), health.command);
  if (entry.key == "interval") return into(interval.read(entry.value, named), health.rule.interval);
  if (entry.key == "timeout") return into(timeout.read(entry.value, named), health.rule.timeout);
  if (entry.key == "failures") return into(failures.read(entry.value, named), health.rule.failures);
  return refuse_key(entry, refuse), false;
}

std::optional<HealthConfig> read_mapping(const YamlNode& node, const Refuse& refuse) {
  HealthConfig health;
  bool good = true;
  for (const YamlNode::Entry& entry : node.entries) good = read_entry(entry, health, refuse) && good;
  if (!good) return std::nullopt;
  const auto wrong = [&](const YamlNode& at, const std::string& text) {
    refuse(at.at, text);
    return std::nullopt;
  };
  HealthRule& rule = health.rule;
  const YamlNode* given = node.find("timeout");
  if (given == nullptr) rule.timeout = std::min(rule.timeout, rule.interval);
  if (rule.timeout > rule.interval) {
    return wrong(*given, "timeout: " + to_string(rule.timeout) + " is longer than interval, " +
                             to_string(rule.interval));
  }
  if (node.find("strategy") == nullptr) return wrong(node, "strategy is missing: passive, ping or command");
  const bool runs = rule.strategy == HealthStrategy::command;
  if (runs && health.command.empty()) return wrong(node, std::string(needs_command));
  if (runs && health.command[0].empty())
    return wrong(*node.find("command"), "command: the program's name is empty");
  if (!runs && !health.command.empty())
    return wrong(*node.find("command"), "command: only the strategy command runs one");
  return health;
}

}  // namespace

std::optional<HealthConfig> HealthSetting::read(const YamlNode& node, const Refuse& refuse) {
  if (node.kind == YamlNode::Kind::map) return read_mapping(node, refuse);
  if (node.kind != YamlNode::Kind::scalar) {
    refuse(node.at, "expected passive, ping, or a mapping such as {strategy: ping, interval: 30s}");
    return std::nullopt;
  }
  const auto strategy = strategies.read(node, refuse);
  if (!strategy) return std::nullopt;
  HealthConfig health;
  health.rule.strategy = *strategy;
  if (*strategy != HealthStrategy::command) return health;
  refuse(node.at, std::string(needs_command));
  return std::nullopt;
}

Json HealthSetting::print(const HealthConfig& value) {
  if (value == HealthConfig()) return "passive";
  Json shown = {{"strategy", strategies.print(value.rule.strategy)}};
  if (!value.command.empty()) shown["command"] = value.command;
  shown["interval"] = TimeSpan::print(value.rule.interval);
  shown["timeout"] = TimeSpan::print(value.rule.timeout);
  shown["failures"] = value.rule.failures;
  return shown;
}

Json HealthSetting::schema() {
  const Json mapping = {{"type", "object"},
                        {"additionalProperties", false},
                        {"required", {"strategy"}},
                        {"properties",
                         {{"strategy", strategies.schema()},
                          {"command", command.schema()},
                          {"interval", interval.schema()},
                          {"timeout", timeout.schema()},
                          {"failures", failures.schema()}}}};
  return {{"anyOf", Json::array({Json{{"enum", {"passive", "ping"}}}, mapping})}};
}

}  // namespace kurultai
