// What went wrong, in one line for a person, with the exit status for a script. Every error of the client
// passes through here, so that the same cause has the same words and the same status in every command.
#pragma once

#include <chrono>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace kurultai {

enum class ExitStatus : int {
  done = 0,
  task_failed = 1,
  usage = 2,
  no_room = 3,  // 429
  refused = 4,  // 503: memory, breaker, draining
  no_such_thing = 5,
  no_supervisor = 6,
  timed_out = 124,
  interrupted = 130,
};

constexpr int to_int(ExitStatus status) { return static_cast<int>(status); }

struct Complaint {
  ExitStatus status = ExitStatus::usage;
  std::string text;                  // cause, and what to do next
  std::vector<std::string> details;  // further lines, such as every mistake of a configuration
  std::chrono::seconds retry_after{0};
};

template <typename T>
using Answer = std::expected<T, Complaint>;

std::unexpected<Complaint> complaint(ExitStatus status, std::string text);

/// Turns a refusal of the supervisor (`{"error":{code,message,retryAfter,details}}`) into a complaint. A body
/// of another shape is no error: the HTTP status alone decides then.
Complaint refusal(int http_status, std::string_view body);

/// Writes `kurultai: DOING: TEXT` to stderr, and the details behind it; returns the status for `exit`.
int complain(std::string_view doing, const Complaint& complaint);

}  // namespace kurultai
