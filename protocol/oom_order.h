// Whom the kernel takes when the machine itself runs out of memory, past all that the supervisor could do:
// oom_score_adj, in thousandths of the machine's memory, which count as if they were used
// (Documentation/filesystems/proc.rst, "oom_adj & oom_score_adj").
#pragma once

#include <algorithm>

#include "protocol/words.h"

namespace kurultai {

/// Of a task of normal priority.
inline constexpr int usual_oom_score_adj = 500;

/// `usual` moved by two tenths of the machine for each level: of two tasks the less important one goes first,
/// unless the other holds so much more. Between 0, what other programs have, and 1000.
constexpr int oom_score_adj_of(Priority priority, int usual = usual_oom_score_adj) {
  constexpr int step = 200;
  const int levels = static_cast<int>(priority) - static_cast<int>(Priority::normal);
  return std::clamp(usual + step * levels, 0, 1000);
}

}  // namespace kurultai
