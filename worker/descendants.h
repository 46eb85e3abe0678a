// All processes that this one started, at any depth and in any session. The caller is a child subreaper
// (PR_SET_CHILD_SUBREAPER), so what loses its parent becomes its child and `no child left` means that nothing
// is left.
#pragma once

#include <optional>

#include "protocol/duration.h"

namespace kurultai {

/// Sends `signal` to every descendant, parents before their children, so that none is there to start another.
/// Exact by pidfd: a number that was given to a stranger meanwhile is not signalled.
void signal_descendants(int signal);

/// For `sweep`: what a process needs to die whose kernel is busy giving its memory back.
inline constexpr Duration kill_patience{5000};

/// Kills and reaps until there is no child left. Returns how many it killed, nothing when some were still
/// there after `patience`. Blocks; SIGCHLD must be blocked.
std::optional<int> sweep(Duration patience);

}  // namespace kurultai
