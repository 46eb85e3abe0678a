// The line that shows how a run is doing, and where it is drawn: on stderr, when that is a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

struct ProgressFigures {
  std::size_t done = 0, running = 0, queued = 0, failed = 0;
  std::optional<Bytes> used;  // of the budget; nothing is shown before the first reading
  Bytes budget;
  std::optional<Duration> left;
};

/// `3 done, 2 running, 5 queued, 1 failed | memory 612MiB of 1GiB | ~12s left`. Pure.
std::string progress_line(const ProgressFigures& figures);

/// How long the rest will take at the pace so far; nullopt before the first command has ended. Pure.
std::optional<Duration> time_left(std::size_t ended, std::size_t total, Duration elapsed);

/// Draws at most five times a second, and nothing at all where there is no terminal.
class ProgressDisplay {
 public:
  ProgressDisplay();
  ~ProgressDisplay() { erase(); }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  bool on_terminal() const { return on_terminal_; }
  bool due(TimePoint now) const { return on_terminal_ && now - drawn_at_ >= std::chrono::milliseconds(200); }
  void draw(const std::string& line, TimePoint now);
  /// Before anything else is written to the terminal.
  void erase();
  /// The same, and what is written next begins a line.
  void begin_line();
  /// What was written last ended without a newline: a line drawn now would hide it.
  void set_open_line(bool open) { open_line_ = open; }

 private:
  bool on_terminal_;
  bool drawn_ = false;
  bool open_line_ = false;
  TimePoint drawn_at_{};
};

}  // namespace kurultai
