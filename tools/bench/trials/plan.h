// What a round is made of: tasks that hold memory, and one that then wants more than is left. Pure, and the
// same for the same seed.
#pragma once

#include <cstdint>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/words.h"

namespace kurultai::bench {

struct Part {
  Priority priority = Priority::normal;
  int mib = 0;
  bool deaf = false;  // does not answer PREEMPT
};

struct Plan {
  std::vector<Part> holders;
  Part grower;
};

/// Holders that together fit under the threshold at which tasks are preempted, and a grower, mostly HIGH,
/// with which the whole crosses it. Where tasks below the grower hold enough, it fits once they have given
/// way.
Plan make_plan(std::uint64_t seed, int holders, Bytes budget);

}  // namespace kurultai::bench
