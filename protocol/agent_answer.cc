#include "protocol/agent_answer.h"

#include <utility>

namespace kurultai {

AgentAnswer::Taken AgentAnswer::take(std::string_view line) {
  OutputLine read = read_output_line(rules_, line);
  if (!read.word) {
    if (read.is_object) goes_on_ = false;
    return {.is_log = true};
  }
  if (read.word->says == OutputRule::Says::progress) {
    goes_on_ = false;
    return {.progress = std::move(read.word->text)};
  }
  keep(std::move(*read.word));
  return {};
}

void AgentAnswer::keep(OutputWord word) {
  const bool is_piece = rules_[word.rule].join;
  const bool follows = is_piece && goes_on_ && last_ && last_->rule == word.rule;
  goes_on_ = is_piece;
  if (!follows) {
    last_ = std::move(word);
  } else if (last_->says == OutputRule::Says::error) {
    // It was too long already.
  } else if (static_cast<std::int64_t>(last_->text.size() + word.text.size()) <= longest_.count) {
    last_->text += word.text;
  } else {
    last_ = OutputWord{.says = OutputRule::Says::error,
                       .text = "the answer is longer than " + to_string(longest_),
                       .rule = word.rule};
  }
}

}  // namespace kurultai
