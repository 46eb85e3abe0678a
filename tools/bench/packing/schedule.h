// The clairvoyant packing: when each task would start if all footprints and times were known beforehand and
// processes cost nothing. The best of several list schedules, no optimum; `least_possible` bounds that from
// below. Pure. Times are seconds.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/bench/packing/workload.h"

namespace kurultai::bench {

struct Packing {
  std::string rule;                // that gave the best
  std::vector<std::size_t> order;  // of the tasks' starts
  double seconds = 0;              // until the last one has ended
};

/// Every task must fit alone, or there is no packing: throws std::runtime_error.
Packing pack(std::span<const PackedTask> tasks, int capacity_mib);

/// No packing is shorter: the memory that all tasks take over their times, spread over all there is, or the
/// longest task.
double least_possible(std::span<const PackedTask> tasks, int capacity_mib);

}  // namespace kurultai::bench
