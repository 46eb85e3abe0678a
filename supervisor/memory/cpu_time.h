// CPU time of all workers that are and were, where no group counts it. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "protocol/error.h"
#include "supervisor/memory/proc.h"

namespace kurultai {

/// Children that have ended before this are none of the workers. At the start, before there are any.
void begin_counting_workers();

/// What the living among our workers have used (`list` finds them), and what those that ended used together
/// with all that they waited for. A child that was no worker (a doctor's attempt, a millisecond) is in it
/// too. Of a process that ended and that nobody of ours waited for, nothing is known any more.
Result<std::chrono::microseconds> cpu_time_of_workers(
    const std::function<Result<std::vector<ProcessState>>()>& list);

}  // namespace kurultai
