// Questions to the supervisor on behalf of a client's request: dropped when the client cancels it.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "protocol/duration.h"
#include "tools/kurultai/http.h"
#include "tools/kurultai/mcp/session.h"

namespace kurultai {

using Then = std::function<void(Answer<Response>)>;

Request get_request(std::string path);
Request post_request(std::string path, std::string body);

/// Calls `then` unless `call` has ended before. Takes the place of what the call does on its cancellation.
Http::Id ask(Http& http, const Call& call, Request request, Then then);

struct WaitFor {
  Duration at_most;                // an hour at most, which is the supervisor's own bound
  bool cancels_when_gone = false;  // the task, when this process has gone or the wait was dropped
};

/// Waits for the end of a task, and tells the progress meanwhile if the client wants it. `then` gets the task
/// as it is by then, or a refusal. The result drops all of it, as a cancellation does by itself.
std::function<void()> wait_for_task(Http& http, const Call& call, const std::string& id, WaitFor wait,
                                    Then then);

}  // namespace kurultai
