// How soon the supervisor acts when a worker has reached its edge, seen from outside and with all processors
// busy: the kernel wakes an observer at the same moment as the supervisor, and the observer looks without a
// pause until the edge was raised or a victim got its SIGKILL. What it needs to wake up itself is missing
// from the figures. Only with cgroups of version 1, where an edge is a limit with an event.
#pragma once

#include <vector>

namespace kurultai::bench {

struct Reactions {
  std::vector<double> raised_us, killed_us;  // microseconds
};

/// Rounds in which two hold memory and a more important one grows into what is left and beyond. Empty where
/// there are no such cgroups.
/// The floor: how long a thread that is as nice as the supervisor takes to be woken by an eventfd, under the
/// same load; in microseconds.
std::vector<double> measure_wake_ups(int count);

Reactions measure_reactions(int rounds);

/// Keeps a processor busy until it is killed.
[[noreturn]] void spin();

}  // namespace kurultai::bench
