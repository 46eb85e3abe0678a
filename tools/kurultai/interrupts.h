// Ctrl-C as something to wait for: counts SIGINT, and takes SIGTERM and SIGHUP for "at once". One a process;
// the signals keep this meaning until it is destroyed. Interrupted writes fail with EINTR, so that a reader
// that has stopped reading does not keep us from ending.
#pragma once

namespace kurultai {

class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// Readable after a signal, until `clear`.
  int fd() const;
  void clear();

  /// How often Ctrl-C was pressed; SIGTERM and SIGHUP count as two.
  static int count();
};

}  // namespace kurultai
