// The whole screen of a terminal, taken over for as long as this lives: the alternate screen, no cursor, no
// echo, keys one by one. Ctrl-C and the like stay signals. Whatever ends the program in order gives the
// screen back. One a process.
#pragma once

#include <termios.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace kurultai {

struct ScreenSize {
  std::size_t columns = 80;
  std::size_t rows = 24;
};

/// Of the terminal that stdout is; the usual size where it does not tell.
ScreenSize screen_size();

class Terminal {
 public:
  /// Whether stdin and stdout are a terminal that can be drawn on.
  static bool is_there();

  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// Readable after a change of its size, until `clear_resized`.
  int resized_fd() const;
  void clear_resized();

  /// The letters and control keys that were pressed; empty when there were none, or nobody can press any more
  /// (`is_gone`).
  std::string keys();
  bool is_gone() const { return is_gone_; }

  /// A frame of lines, each ended by a newline; each is to be no wider than the screen.
  void show(std::string_view lines);

  /// What Ctrl-Z does elsewhere: gives the screen back, and stops until somebody lets the program go on.
  void stop();

 private:
  void enter();
  void leave();

  termios before_{};
  bool is_gone_ = false;
};

}  // namespace kurultai
