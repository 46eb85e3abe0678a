// Waiting for one task until it has ended: told by the event stream, and asked for now and then besides, so
// that a lost event only costs time.
#pragma once

#include <string>

#include "tools/kurultai/complaint.h"
#include "tools/kurultai/http.h"

namespace kurultai {

struct FollowOptions {
  bool progress = false;  // lines on stderr
  bool logs = false;      // the task's stderr and log lines on ours
};

/// The finished task's JSON. Ctrl-C ends the waiting, not the task, with a complaint that says so.
Answer<std::string> follow_task(Http& http, const std::string& id, const FollowOptions& options);

}  // namespace kurultai
