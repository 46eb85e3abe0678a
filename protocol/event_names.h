// What an event of the supervisor can be called: the contract's names.
#pragma once

#include <string_view>

namespace kurultai {

inline constexpr std::string_view event_names[] = {
    "taskQueued",     "taskStarted",      "taskProgress",     "taskSuspended", "taskResumed",
    "taskPreempted",  "taskCompleted",    "taskFailed",       "taskCancelled", "taskEvicted",
    "taskRejected",   "heartbeatSkipped", "workerSpawned",    "workerReady",   "workerExited",
    "memoryWarning",  "leakSuspected",    "thresholdCrossed", "budgetChanged", "orphanSwept",
    "breakerChanged", "configReloaded",   "draining",         "drained",       "governanceWithheld"};

}  // namespace kurultai
