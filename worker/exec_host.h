// Runs one command a task for agents with `protocol: exec`: speaks protocol 1 on stdin and stdout, as an
// agent would. When it answers COMPLETE or FAILED, every process of that task is gone. Trusted: it keeps the
// supervisor's user; only the commands get the limits and the user of `Launch`.
#pragma once

#include "worker/launch.h"

namespace kurultai {

/// Serves until SHUTDOWN, the end of stdin or the end of the supervisor (`parent`). Returns the exit status.
int host_commands(const Launch& launch, pid_t parent);

}  // namespace kurultai
