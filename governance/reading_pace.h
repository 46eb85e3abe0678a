// How soon memory has to be read again. Touching memory runs at 2 GB/s, 5 GB/s with huge pages (measured), so
// close below a threshold only 10 ms keep up; far from it the slow tick is enough where the kernel wakes us
// at the marks.
#pragma once

#include "governance/pressure.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

struct PaceInput {
  Bytes raw;   // charged, page cache included: what kernel events count
  Bytes used;  // working set: what thresholds count
  Bytes budget;
  bool kernel_events = false;  // usage events wake us at the marks (cgroup v1)
  bool any_worker = false;
  Duration slow_tick{5000};
};

/// Never later than the slow tick. With kernel events: the slow tick until `raw` is above the lowest mark
/// less hysteresis, then 10 ms, because inside a full page cache no further event comes. Without: 10 ms
/// within a quarter of the budget below the lowest threshold and above it (with or without workers), 50 ms
/// elsewhere while there are workers, the slow tick when there are none. When the raw charge is high but the
/// working set is more than a quarter below every threshold (cache), 50 ms do.
Duration next_reading_in(const PaceInput& input, const Thresholds& thresholds);

}  // namespace kurultai
