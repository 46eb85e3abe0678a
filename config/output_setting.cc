#include "config/output_setting.h"

#include <algorithm>

#include "protocol/json_text.h"

namespace kurultai {
namespace {

const Choice<OutputKind> formats{{{"text", OutputKind::text},
                                  {"json", OutputKind::json},
                                  {"jsonl", OutputKind::jsonl},
                                  {"none", OutputKind::none}}};

std::optional<OutputRule> read_rule(const YamlNode& node, std::size_t index, const Refuse& refuse) {
  const auto text = AnyValue::read(node, refuse);
  if (!text) return std::nullopt;
  const auto value = parse_json(*text);
  auto rule = value ? read_output_rule(*value) : std::unexpected(value.error());
  if (rule) return *std::move(rule);
  refuse(node.at, "rules." + std::to_string(index) + ": " + rule.error().message);
  return std::nullopt;
}

std::optional<OutputRules> read_rules(const YamlNode& node, const Refuse& refuse) {
  if (node.kind != YamlNode::Kind::sequence || node.items.empty() || node.items.size() > most_output_rules) {
    refuse(node.at, "rules: expected a list of 1 to " + std::to_string(most_output_rules) +
                        ", as in `- {when: {type: result}, result: $.text}`");
    return std::nullopt;
  }
  OutputRules rules;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    if (auto rule = read_rule(node.items[i], i, refuse)) rules.push_back(*std::move(rule));
  }
  if (rules.size() != node.items.size()) return std::nullopt;
  const bool answers = std::any_of(rules.begin(), rules.end(),
                                   [](const auto& rule) { return rule.says == OutputRule::Says::result; });
  if (answers) return rules;
  refuse(node.at, "rules: none of them says where the result is, so every task would fail");
  return std::nullopt;
}

}  // namespace

std::optional<AgentOutput> OutputSetting::read(const YamlNode& node, const Refuse& refuse) {
  const bool is_map = node.kind == YamlNode::Kind::map;
  const YamlNode* const format = is_map ? node.find("format") : &node;
  const YamlNode* const rules = is_map ? node.find("rules") : nullptr;
  if (is_map) {
    for (const YamlNode::Entry& entry : node.entries) {
      if (entry.key == "format" || entry.key == "rules") continue;
      refuse(entry.at, "unknown key " + in_quotes(entry.key) + "; known here: format, rules");
      return std::nullopt;
    }
  }
  if (format == nullptr)
    return refuse(node.at, "format is missing, as in {format: jsonl, rules: […]}"), std::nullopt;
  const auto kind = formats.read(*format, refuse);
  if (!kind) return std::nullopt;
  if ((*kind == OutputKind::jsonl) != (rules != nullptr)) {
    refuse(node.at, rules == nullptr ? "jsonl needs rules, as in {format: jsonl, rules: […]}"
                                     : "rules are for the format jsonl");
    return std::nullopt;
  }
  AgentOutput output{.kind = *kind};
  if (rules == nullptr) return output;
  auto read = read_rules(*rules, refuse);
  if (!read) return std::nullopt;
  output.rules = *std::move(read);
  return output;
}

Json OutputSetting::print(const AgentOutput& value) {
  if (value.rules.empty()) return formats.print(value.kind);
  Json rules = Json::array();
  for (const OutputRule& rule : value.rules) rules.push_back(Json(to_json(rule)));
  return {{"format", formats.print(value.kind)}, {"rules", std::move(rules)}};
}

Json OutputSetting::schema() {
  const Json path = {{"type", "string"}, {"minLength", 1}, {"maxLength", JsonPath::longest}};
  const Json paths = {
      {"anyOf",
       {path, {{"type", "array"}, {"minItems", 1}, {"maxItems", OutputRule::most_paths}, {"items", path}}}}};
  const Json value = {{"type", {"string", "number", "boolean"}}};
  const Json values = {
      {"anyOf",
       {value,
        {{"type", "array"}, {"minItems", 1}, {"maxItems", OutputRule::most_values}, {"items", value}}}}};
  const Json when = {
      {"type", "object"}, {"maxProperties", OutputRule::most_conditions}, {"additionalProperties", values}};
  const Json rule = {
      {"type", "object"},
      {"additionalProperties", false},
      {"properties",
       {{"when", when},
        {"progress", paths},
        {"result", path},
        {"error", paths},
        {"join", {{"type", "boolean"}}}}},
      {"dependentRequired", {{"join", {"result"}}}},
      {"oneOf", {{{"required", {"progress"}}}, {{"required", {"result"}}}, {{"required", {"error"}}}}}};
  const Json rules = {{"type", "array"},
                      {"minItems", 1},
                      {"maxItems", most_output_rules},
                      {"items", rule},
                      {"contains", {{"required", {"result"}}}}};
  const Json map = {{"type", "object"},
                    {"additionalProperties", false},
                    {"properties", {{"format", {{"const", "jsonl"}}}, {"rules", rules}}},
                    {"required", {"format", "rules"}}};
  const Json words = {{"enum", {"text", "json", "none"}}};
  const Json plain_map = {{"type", "object"},
                          {"additionalProperties", false},
                          {"properties", {{"format", words}}},
                          {"required", {"format"}}};
  return {{"anyOf", {words, plain_map, map}}};
}

}  // namespace kurultai
