// The floor: a packing that was computed is really run, with nothing but posix_spawn and wait. One thread.
#pragma once

#include "tools/bench/packing/outcome.h"
#include "tools/bench/packing/schedule.h"

namespace kurultai::bench {

/// Each task starts as soon as all before it have and its exact footprint fits. A task that ends with another
/// status than 0 is thrown.
Outcome run_bare(const Course& course, const Packing& packing, int capacity_mib);

}  // namespace kurultai::bench
