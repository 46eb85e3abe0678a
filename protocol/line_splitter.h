// Cuts a byte stream into lines, whatever the sizes of the reads. Holds at most one unfinished line of
// `max_line` bytes (the line end does not count); when a line is longer it says so once and drops the rest up
// to the next newline.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kurultai {

class LineSplitter {
 public:
  enum class Kind { line, too_long };
  struct Line {
    Kind kind;
    std::string_view text;  // without "\n" or "\r\n"; empty when too_long. Valid inside `take` only.
  };

  explicit LineSplitter(std::size_t max_line) : max_line_(max_line) {}

  /// Gives `take(Line)` every line that `bytes` completes, in order. A line that lies whole inside `bytes` is
  /// not copied. `take` returns false to stop: what is left of `bytes` is dropped then (the stream is being
  /// abandoned).
  template <typename Take>
  void feed(std::string_view bytes, Take&& take) {
    while (!bytes.empty()) {
      const std::size_t newline = bytes.find('\n');
      if (newline == std::string_view::npos) return keep(bytes, take);
      if (!finish(bytes.substr(0, newline), take)) return;
      bytes.remove_prefix(newline + 1);
    }
  }

  /// What is left without a newline when the stream ends; empty when nothing is.
  std::string_view rest() const { return partial_; }

 private:
  template <typename Take>
  void keep(std::string_view bytes, Take&& take) {
    if (dropping_) return;
    if (fits(bytes)) {
      partial_.append(bytes);
      return;
    }
    drop_partial();
    dropping_ = true;
    take(Line{Kind::too_long, {}});
  }

  template <typename Take>
  bool finish(std::string_view tail, Take&& take) {
    if (dropping_) {
      dropping_ = false;
      return true;
    }
    const bool too_long = !fits(tail);
    if (!too_long && !partial_.empty()) tail = partial_.append(tail);
    const bool go_on = take(too_long ? Line{Kind::too_long, {}} : Line{Kind::line, without_return(tail)});
    drop_partial();
    return go_on;
  }

  // A "\r" as the last byte is let in beyond the limit, because it may belong to the line end.
  bool fits(std::string_view tail) const {
    const std::size_t size = partial_.size() + tail.size();
    if (size <= max_line_) return true;
    return size == max_line_ + 1 && (tail.empty() ? partial_.back() : tail.back()) == '\r';
  }

  static std::string_view without_return(std::string_view line) {
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    return line;
  }

  void drop_partial() {
    partial_.clear();
    // One long line must not pin its size for good.
    if (partial_.capacity() > 65536) partial_.shrink_to_fit();
  }

  std::size_t max_line_;
  std::string partial_;
  bool dropping_ = false;
};

}  // namespace kurultai
