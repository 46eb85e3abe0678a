// What a program that prints JSON lines has said in the end: its last answer, or error, by its output rules.
// Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/output_rules.h"

namespace kurultai {

class AgentAnswer {
 public:
  /// Of an answer that comes in pieces, at most `longest` is taken.
  AgentAnswer(OutputRules rules, Bytes longest) : rules_(std::move(rules)), longest_(longest) {}

  struct Taken {
    bool is_log = false;     // no rule has a use for the line
    std::string progress{};  // empty: it is none
  };
  Taken take(std::string_view line);

  /// What was said last counts: an error that was overcome is none, nor is an answer that an error followed.
  const std::optional<OutputWord>& last() const { return last_; }

 private:
  void keep(OutputWord word);

  OutputRules rules_;
  Bytes longest_;
  std::optional<OutputWord> last_;  // never progress
  bool goes_on_ = false;            // the line before was a piece of it
};

}  // namespace kurultai
