// The arguments of a run, one at a time: those behind `:::`, or the lines of stdin, which are read only as
// they are needed, so that 100,000 lines or a slow pipe take no more memory than ten.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.h"
#include "protocol/line_splitter.h"

namespace kurultai {

/// The longest argument that Linux takes is 128 KiB with its end (MAX_ARG_STRLEN).
inline constexpr std::size_t max_argument = 128 * 1024 - 1;

/// Why this cannot be an argument of a command; nullopt when it can.
std::optional<std::string> fault_of(std::string_view argument);

class Input {
 public:
  /// All there is.
  explicit Input(std::vector<std::string> arguments);
  /// Lines of `fd`, which stays the caller's.
  static Input lines_of(int fd) { return Input(fd); }

  /// The next argument, when one is there.
  std::optional<std::string> next();
  /// Nothing is there now, and reading may bring more.
  bool wants_reading() const { return fd_ >= 0 && ready_.empty(); }
  int fd() const { return fd_; }
  /// Reads once from a readable fd. A line that is too long, holds NUL or is not UTF-8 is an error.
  Result<void> read_some();

  bool at_end() const { return fd_ < 0 && ready_.empty(); }
  /// How many there are in all, once that is known.
  std::optional<std::size_t> total() const;

 private:
  explicit Input(int fd) : fd_(fd) {}
  void take(std::string_view line);
  void end();

  int fd_ = -1;
  LineSplitter splitter_{max_argument};
  std::deque<std::string> ready_;
  std::size_t seen_ = 0;
  std::string fault_;
};

}  // namespace kurultai
