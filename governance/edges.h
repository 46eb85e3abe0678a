// Soft edges: how far each worker may grow before it has to wait. Their sum is never more than there is, so
// the workers together cannot outgrow the budget however fast they allocate, and only one that grows ever
// waits. Pure.
#pragma once

#include <span>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

struct Holder {
  Bytes charge;          // all that its group is charged for now, page cache included
  Bytes cap;             // its edge is never above
  bool growing = false;  // since the last look
};

/// An edge for each holder: its charge and a share of what nobody holds, at most its cap. Those that do not
/// grow get `least_slack` before all others, so that near the end of memory it is the growing ones that wait;
/// then each gets `quiet_slack`, the growing ones first, and a growing one eight parts of the rest for every
/// one of the others. When all caps together fit, everyone has its cap, to the byte; other edges are whole
/// pages. Where the charges alone are more than `total`, nobody gets more than he has.
std::vector<Bytes> share_out(Bytes total, std::span<const Holder> holders);

/// Which of the holders have to give back what is between their edge `now` and the one `wanted`, before any
/// is raised. Those that would give back less than `worth_moving` are left alone, unless what is `unheld` and
/// what the others give back is too little for the growing ones: many small remains are much.
std::vector<std::size_t> givers(std::span<const Holder> holders, std::span<const Bytes> now,
                                std::span<const Bytes> wanted, Bytes unheld, Bytes worth_moving);

/// What a worker that does not grow is left with to the last: enough for it to fork, open pipes and read
/// files, which fail with ENOMEM at an edge.
inline constexpr Bytes least_slack = mebibytes(1);
/// What each has while there is room.
Bytes quiet_slack(Bytes total, std::size_t holders);

/// Whether an edge has come too near: no more than half of the slack that was given is left, and less than
/// memory grows in the time that a new look may take.
bool needs_new_edge(Bytes charge, Bytes edge, Bytes slack_given, Bytes cap);

/// How soon to look again when the nearest edge is `slack` away. Touching memory runs at 2 GB/s (measured).
Duration next_look_in(Bytes slack);

}  // namespace kurultai
