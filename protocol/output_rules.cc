#include "protocol/output_rules.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_text.h"
#include "protocol/utf8.h"

namespace kurultai {

using nlohmann::json;
using Says = OutputRule::Says;

namespace {

constexpr std::array<std::pair<std::string_view, Says>, 3> sayings = {
    {{"progress", Says::progress}, {"result", Says::result}, {"error", Says::error}}};

std::string_view name_of(Says says) {
  return std::find_if(sayings.begin(), sayings.end(), [says](const auto& one) { return one.second == says; })
      ->first;
}

Result<void> read_values(const json& value, OutputRule::Condition& condition) {
  const json list = value.is_array() ? value : json::array({value});
  for (const json& one : list) {
    if (!one.is_string() && !one.is_number() && !one.is_boolean()) {
      return failure("when: " + condition.path.text() + " is compared with texts, numbers, true and false");
    }
    condition.any_of.push_back(to_text(one));
  }
  if (list.empty() || list.size() > OutputRule::most_values) {
    return failure("when: " + condition.path.text() + " needs 1 to " +
                   std::to_string(OutputRule::most_values) + " values");
  }
  return {};
}

Result<void> read_conditions(const json& when, OutputRule& rule) {
  if (!when.is_object()) return failure("when: expected conditions as `path: value`");
  if (when.size() > OutputRule::most_conditions) {
    return failure("when: more than " + std::to_string(OutputRule::most_conditions) + " conditions");
  }
  for (const auto& [text, value] : when.items()) {
    auto path = JsonPath::parse(text);
    if (!path) return failure("when: " + path.error().message);
    OutputRule::Condition& condition = rule.when.emplace_back(std::move(*path));
    if (auto read = read_values(value, condition); !read) return read;
  }
  return {};
}

Result<void> read_paths(std::string_view name, const json& value, OutputRule& rule) {
  const json list = value.is_array() ? value : json::array({value});
  const std::size_t most = rule.says == Says::result ? 1 : OutputRule::most_paths;
  if (list.empty() || list.size() > most) {
    return failure(std::string(name) + ": expected " +
                   (most == 1 ? "one path" : "1 to " + std::to_string(most) + " paths"));
  }
  for (const json& one : list) {
    if (!one.is_string()) return failure(std::string(name) + ": expected a path such as $.item.text");
    auto path = JsonPath::parse(one.get_ref<const std::string&>());
    if (!path) return failure(std::string(name) + ": " + path.error().message);
    rule.what.push_back(std::move(*path));
  }
  return {};
}

Result<void> read_member(const std::string& name, const json& value, OutputRule& rule) {
  if (name == "when") return read_conditions(value, rule);
  if (name == "join") {
    if (!value.is_boolean()) return failure("join: expected true or false");
    rule.join = value.get<bool>();
    return {};
  }
  const auto saying =
      std::find_if(sayings.begin(), sayings.end(), [&](const auto& one) { return one.first == name; });
  if (saying == sayings.end()) {
    return failure("unknown key '" + std::string(utf8_prefix(name, 64)) +
                   "'; known here: when, progress, result, error, join");
  }
  if (!rule.what.empty()) return failure("only one of progress, result and error");
  rule.says = saying->second;
  return read_paths(name, value, rule);
}

std::string as_text(const json& value) {
  return value.is_string() ? value.get_ref<const std::string&>() : to_text(value);
}

bool holds(const OutputRule::Condition& condition, const json& line) {
  const auto found = condition.path.find(line);
  return std::any_of(found.begin(), found.end(), [&](const json* value) {
    return value->is_primitive() && std::find(condition.any_of.begin(), condition.any_of.end(),
                                              to_text(*value)) != condition.any_of.end();
  });
}

/// All that the paths find, between two a space.
std::string sentence_of(const OutputRule& rule, const json& line) {
  std::string sentence;
  for (const JsonPath& path : rule.what) {
    for (const json* value : path.find(line)) {
      const std::string text = as_text(*value);
      if (!sentence.empty() && !text.empty()) sentence += ' ';
      sentence += text;
    }
  }
  return sentence;
}

std::optional<OutputWord> word_of(const OutputRule& rule, const json& line) {
  OutputWord word{.says = rule.says};
  if (rule.says != Says::result) {
    word.text = sentence_of(rule, line);
    return word.text.empty() ? std::nullopt : std::optional(std::move(word));
  }
  const auto found = rule.what.front().find(line);
  if (found.empty()) return std::nullopt;
  if (rule.join) {
    for (const json* value : found) word.text += as_text(*value);
  } else if (found.size() == 1) {
    word.is_text = found.front()->is_string();
    word.text = as_text(*found.front());
  } else {
    json list = json::array();
    for (const json* value : found) list.push_back(*value);
    word.is_text = false;
    word.text = to_text(list);
  }
  return word;
}

}  // namespace

Result<OutputRule> read_output_rule(const json& value) {
  if (!value.is_object()) return failure("expected a rule as {when: {path: value}, result: path}");
  OutputRule rule;
  for (const auto& [name, member] : value.items()) {
    if (auto read = read_member(name, member, rule); !read) return std::unexpected(read.error());
  }
  if (rule.what.empty()) return failure("one of progress, result and error must say what a line means");
  if (rule.join && rule.says != Says::result) return failure("join: only a result is joined");
  return rule;
}

json to_json(const OutputRule& rule) {
  json value = json::object();
  for (const auto& condition : rule.when) {
    json values = json::array();
    for (const JsonText& text : condition.any_of) values.push_back(json::parse(text));
    value["when"][condition.path.text()] = values.size() == 1 ? values[0] : values;
  }
  json paths = json::array();
  for (const JsonPath& path : rule.what) paths.push_back(path.text());
  value[std::string(name_of(rule.says))] = paths.size() == 1 ? paths[0] : paths;
  if (rule.join) value["join"] = true;
  return value;
}

OutputLine read_output_line(const OutputRules& rules, std::string_view line) {
  OutputLine read;
  if (!line.starts_with('{')) return read;  // as nearly every line of log does not
  const auto value = parse_json(line, DuplicateKeys::last_wins);
  if (!value || !value->is_object()) return read;
  read.is_object = true;
  for (std::size_t i = 0; i < rules.size() && !read.word; ++i) {
    const auto holds_here = [&](const auto& condition) { return holds(condition, *value); };
    if (!std::all_of(rules[i].when.begin(), rules[i].when.end(), holds_here)) continue;
    read.word = word_of(rules[i], *value);
    if (read.word) read.word->rule = i;
  }
  return read;
}

}  // namespace kurultai
