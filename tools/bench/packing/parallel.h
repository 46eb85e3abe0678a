// The same workload with GNU parallel, if it is there. `--memfree` reads /proc/meminfo, which speaks of the
// whole machine: parallel gets one of its own in a mount namespace, kept to what a machine of the budget's
// size would have free beside what parallel and its jobs hold.
#pragma once

#include "protocol/error.h"
#include "tools/bench/packing/outcome.h"

namespace kurultai::bench {

struct ParallelRule {
  int jobs = 0;  // at once
  int memfree_mib =
      0;  // that must be free for a start; with half of it the youngest job is killed. 0: no matter
};

/// Fails, with the reason, where it cannot be run: not installed, or not allowed to mount.
Result<Outcome> run_parallel(const Course& course, const ParallelRule& rule);

}  // namespace kurultai::bench
