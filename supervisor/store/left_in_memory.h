// Removes what processes left in memory beyond their end: nobody can swap or reclaim it, and what their
// groups were charged for it counts for the budget until it is gone.
#pragma once

#include <chrono>

#include "supervisor/store/remove_tree.h"

namespace kurultai {

/// Users that only workers of one supervisor are, one worker at a time.
struct OwnUsers {
  unsigned first = 0;
  unsigned count = 0;  // 0: nobody

  bool contains(unsigned uid) const { return uid - first < count; }
};

/// Of `users`: System V shared memory, semaphores and message queues that they made, and what they own at the
/// top of /dev/shm and /dev/mqueue. A user who has a living process is left alone: the numbers could be those
/// of another supervisor on this machine too. Works for about `patience`. Blocks: for a thread.
Removal remove_left_in_memory(const OwnUsers& users, std::chrono::milliseconds patience);

}  // namespace kurultai
