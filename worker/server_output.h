// What an MCP server writes, as lines. A line of at most `longest` bytes is given whole; what is longer is
// handed on while it comes and never held.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "worker/long_answer.h"

namespace kurultai {

class ServerOutput {
 public:
  static constexpr std::size_t longest = 1 << 20;

  struct Reader {
    std::function<void(std::string_view)> line;  // without the line end; valid in the call
    std::function<LongAnswer()> begin_long;      // a line turns out to be long
    std::function<void(LongAnswer&)> end_of_long;
  };
  explicit ServerOutput(Reader reader) : reader_(std::move(reader)) {}

  void feed(std::string_view bytes);
  /// The output has ended: what is left without a newline is a line too.
  void finish();

 private:
  void keep(std::string_view bytes);
  void end_line(std::string_view tail);

  Reader reader_;
  std::string partial_;
  std::optional<LongAnswer> long_;
};

}  // namespace kurultai
