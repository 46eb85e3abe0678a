// The stdout of a command that prints JSON lines: what it says is progress at once, the last answer or error
// at the end; every other line goes to stderr, which is the task's log. Holds one line.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/agent_answer.h"
#include "protocol/line_splitter.h"
#include "protocol/output_order.h"

namespace kurultai {

class SpokenOutput {
 public:
  using Tell = std::function<void(std::string progress)>;

  /// `result_limit`: of one answer; 0 is none.
  SpokenOutput(OutputOrder order, Bytes result_limit, Tell tell);

  void take(std::string_view bytes);
  /// Its last line may have no newline.
  void end();

  const std::optional<OutputWord>& last_word() const { return answer_.last(); }
  /// ` (2 lines longer than 1MiB were skipped)`; empty: none were.
  std::string note() const;

 private:
  void take_line(LineSplitter::Line line);

  Bytes max_line_;
  LineSplitter lines_;
  AgentAnswer answer_;
  Tell tell_;
  std::int64_t skipped_ = 0;
};

}  // namespace kurultai
