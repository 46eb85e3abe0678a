// CPU time of all workers that are and were, where no group counts it. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "protocol/error.h"
#include "supervisor/memory/proc.h"

namespace kurultai {

/// What the living among our workers have used (`list` finds them), and what those that ended used together
/// with all that they waited for. Children of ours are workers only: the guardian outlives us. Of a process
/// that ended and that nobody of ours waited for, nothing is known any more.
Result<std::chrono::microseconds> cpu_time_of_workers(
    const std::function<Result<std::vector<ProcessState>>()>& list);

}  // namespace kurultai
