// The memory that a process and all its descendants hold together, looked at again and again on a thread of
// its own: the same for all who run tasks, whatever they say of themselves. Pages of files do not count: the
// tasks share those of their program.
#pragma once

#include <sys/types.h>

#include <functional>
#include <thread>

#include "protocol/bytes.h"

namespace kurultai::bench {

/// Zero when the process has left. A process that comes or goes meanwhile may be missed.
Bytes memory_of_tree(pid_t root);

class TreeMemory {
 public:
  /// `on_look` is called on the thread.
  explicit TreeMemory(pid_t root, std::function<void(Bytes)> on_look = {});

  /// Ends the looking.
  Bytes most();

 private:
  Bytes most_;  // the thread's until it has ended
  std::jthread thread_;
};

}  // namespace kurultai::bench
