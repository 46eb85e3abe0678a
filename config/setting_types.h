// How the value of one setting is read, printed and described. Each type has the same three functions:
//   read(node, refuse)  the value, or nullopt after telling `refuse` what is wrong and where
//   print(value)        as JSON in the shape that `read` takes
//   schema()            as JSON Schema
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.h"
#include "config/yaml_tree.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

using Json = nlohmann::ordered_json;
using Refuse = std::function<void(Position at, const std::string& text)>;

/// Text of a scalar; anything else is refused with `expected` ("a size such as 512MiB").
std::optional<std::string_view> read_scalar(const YamlNode& node, std::string_view expected,
                                            const Refuse& refuse);

std::string_view kind_of(const YamlNode& node);                               // a list, a map, …
std::string expected_but(std::string_view expected, std::string_view found);  // the whole complaint

struct WholeNumber {
  std::int64_t min;
  std::int64_t max;
  std::optional<std::int64_t> read(const YamlNode& node, const Refuse& refuse) const;
  static Json print(std::int64_t value) { return value; }
  Json schema() const;
};

/// A whole number, or one word that stands for its absence (`auto`).
struct WholeNumberOr {
  WholeNumber number;
  std::string_view word;
  std::optional<std::optional<int>> read(const YamlNode& node, const Refuse& refuse) const;
  Json print(const std::optional<int>& value) const;
  Json schema() const;
};

/// A share of a whole: (0, 1], or [0, 1) where nothing is a value too.
struct Share {
  bool may_be_zero;
  std::optional<double> read(const YamlNode& node, const Refuse& refuse) const;
  static Json print(double value) { return value; }
  Json schema() const;
};

/// So many times something, as in 1.5.
struct Factor {
  double min;
  double max;
  std::optional<double> read(const YamlNode& node, const Refuse& refuse) const;
  static Json print(double value) { return value; }
  Json schema() const;
};

struct Size {
  Bytes min;
  Bytes max;
  std::optional<Bytes> read(const YamlNode& node, const Refuse& refuse) const;
  static Json print(Bytes value);
  Json schema() const;
};

/// A size, or one word that stands for its absence (`auto`). With an empty word the setting is left out
/// instead.
struct SizeOr {
  Size size;
  std::string_view word;
  std::optional<std::optional<Bytes>> read(const YamlNode& node, const Refuse& refuse) const;
  Json print(const std::optional<Bytes>& value) const;
  Json schema() const;
};

struct TimeSpan {
  Duration min;
  Duration max;
  std::optional<Duration> read(const YamlNode& node, const Refuse& refuse) const;
  static Json print(Duration value) { return to_string(value); }
  Json schema() const;
};

struct TimeSpans {
  TimeSpan each;
  std::size_t most;
  std::optional<std::vector<Duration>> read(const YamlNode& node, const Refuse& refuse) const;
  static Json print(const std::vector<Duration>& value);
  Json schema() const;
};

struct Flag {
  static std::optional<bool> read(const YamlNode& node, const Refuse& refuse);
  static Json print(bool value) { return value; }
  static Json schema() { return {{"type", "boolean"}}; }
};

std::string words_of(const std::vector<std::string_view>& words);  // a, b or c
std::optional<std::size_t> read_choice(const YamlNode& node, const std::vector<std::string_view>& words,
                                       const Refuse& refuse);

template <typename Value>
struct Choice {
  std::vector<std::pair<std::string_view, Value>> choices;

  std::vector<std::string_view> words() const {
    std::vector<std::string_view> all;
    all.reserve(choices.size());
    for (const auto& choice : choices) all.push_back(choice.first);
    return all;
  }
  std::optional<Value> read(const YamlNode& node, const Refuse& refuse) const {
    const auto index = read_choice(node, words(), refuse);
    if (!index) return std::nullopt;
    return choices[*index].second;
  }
  Json print(Value value) const {
    for (const auto& [word, its_value] : choices) {
      if (its_value == value) return word;
    }
    return nullptr;
  }
  Json schema() const { return {{"enum", words()}}; }
};

/// What is wrong with a text, or nothing.
using TextRule = std::optional<std::string> (*)(std::string_view text);

struct Text {
  std::string_view expected;
  TextRule rule;
  std::string_view pattern;  // the rule's outline for the schema; empty: none
  std::optional<std::string> read(const YamlNode& node, const Refuse& refuse) const;
  static Json print(const std::string& value) { return value; }
  Json schema() const;
};

/// A list of texts; numbers and truth values are taken as they are written.
struct Texts {
  Text each;
  bool may_be_empty;
  std::optional<std::vector<std::string>> read(const YamlNode& node, const Refuse& refuse) const;
  static Json print(const std::vector<std::string>& value) { return value; }
  Json schema() const;
};

/// Variables and their values, or {file: PATH} of what is a secret; numbers and truth values are taken as
/// they are written. What is printed is for comparing: `hide_values` comes before anybody sees it.
struct Variables {
  static std::optional<std::map<std::string, EnvValue>> read(const YamlNode& node, const Refuse& refuse);
  static Json print(const std::map<std::string, EnvValue>& value);
  static Json schema();
};
/// In place of each value its being there; files keep their paths.
void hide_values(Json& variables);

/// private, or {private: true, size: 64MiB}; "": as every program's.
struct PrivateTmp {
  static std::optional<TmpConfig> read(const YamlNode& node, const Refuse& refuse);
  static Json print(const TmpConfig& value);
  static Json schema();
};

/// bubblewrap, or {kind: bubblewrap, network: true}; none.
struct Sandbox {
  static std::optional<SandboxConfig> read(const YamlNode& node, const Refuse& refuse);
  static Json print(const SandboxConfig& value);
  static Json schema();
};

/// Anything that is JSON, as its text.
struct AnyValue {
  static std::optional<std::string> read(const YamlNode& node, const Refuse& refuse);
  static Json print(const std::string& value) { return Json::parse(value); }
  static Json schema() { return Json::object(); }
};

// Rules of texts.
std::optional<std::string> any_text(
    std::string_view text);  // all but NUL, which no argument or path can hold
std::optional<std::string> variable_name(std::string_view text);
std::optional<std::string> variable_name_or_all(std::string_view text);
std::optional<std::string> account(std::string_view text);
std::optional<std::string> home_directory(std::string_view text);
std::optional<std::string> cgroup_parent(std::string_view text);
std::optional<std::string> listen_address(std::string_view text);
std::optional<std::string> times_of_day(std::string_view text);  // or none
std::optional<std::string> web_origin(std::string_view text);    // as browsers write it

inline constexpr std::string_view variable_pattern = "^[A-Za-z_][A-Za-z0-9_]{0,254}$";

}  // namespace kurultai
