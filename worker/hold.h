// Where no group contains a worker, a holder stands between supervisor and agent: every descendant of the
// agent, however it detached itself, ends up as the holder's child and ends with the agent.
#pragma once

#include <vector>

#include "worker/launch.h"

namespace kurultai {

/// Runs the agent until it has ended and nothing of it is left. Returns the exit status to end with; when the
/// agent was killed by a signal the holder dies of the same one. `parent` is the supervisor: without it all
/// is killed at once.
int hold(const Launch& launch, pid_t parent, const std::vector<char*>& argv);

}  // namespace kurultai
