// What a program means by the JSON objects that it prints, one a line: which of them are progress, its answer
// or an error. Written by whoever configures an agent, applied to every line of its output. Pure.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.h"
#include "protocol/json_path.h"
#include "protocol/messages.h"

namespace kurultai {

struct OutputRule {
  static constexpr std::size_t most_conditions = 8;
  static constexpr std::size_t most_values = 16;  // of a condition
  static constexpr std::size_t most_paths = 8;

  /// One of the values lies at the path. Values are texts, numbers or truth values, as compact JSON.
  struct Condition {
    JsonPath path;
    std::vector<JsonText> any_of;
    bool operator==(const Condition&) const = default;
  };
  enum class Says { progress, result, error };

  std::vector<Condition> when{};  // all of them; none: every object
  Says says = Says::progress;
  std::vector<JsonPath> what{};  // of a result one
  bool join = false;             // what is found, here and in the lines that follow at once, is one text
  bool operator==(const OutputRule&) const = default;
};

using OutputRules = std::vector<OutputRule>;
inline constexpr std::size_t most_output_rules = 32;

/// `{"when": {PATH: VALUE or [VALUE…], …}, "progress": PATH or [PATH…]}`, with `result` (one PATH; and
/// `join`) or `error` in the place of `progress`.
Result<OutputRule> read_output_rule(const nlohmann::json& rule);
/// The same shape.
nlohmann::json to_json(const OutputRule& rule);

/// What a line says by the first rule that holds for it and finds something.
struct OutputWord {
  OutputRule::Says says = OutputRule::Says::progress;
  std::string text{};   // of a result that is no text: compact JSON
  bool is_text = true;  // false: a result that is another value; several that were found are a list
  std::size_t rule = 0;
};

struct OutputLine {
  bool is_object = false;
  std::optional<OutputWord> word{};  // none: no rule holds
};
OutputLine read_output_line(const OutputRules& rules, std::string_view line);

}  // namespace kurultai
