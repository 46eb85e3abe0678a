// A host's end of the pipes to the supervisor: its messages come on stdin, the answers go out on stdout.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string_view>

#include "protocol/codec.h"
#include "protocol/line_splitter.h"
#include "worker/fd.h"

namespace kurultai {

/// SIGTERM and SIGCHLD come through this descriptor from now on; SIGPIPE and SIGXFSZ are ignored.
Fd watch_signals();

class SupervisorLink {
 public:
  using Take = std::function<void(ToAgentLine)>;

  /// Reads once and gives each line to `take`, also one that is too long (Malformed). False: the pipe has
  /// ended.
  bool read(const Take& take);

  /// Waits until all of it is written; false when nobody reads any more.
  bool send(const FromAgent& message);
  /// A line as it is, newline included.
  bool send_line(std::string_view line);

 private:
  static constexpr std::size_t max_line = 64 << 20;  // the supervisor has limits of its own

  LineSplitter lines_{max_line};
};

}  // namespace kurultai
