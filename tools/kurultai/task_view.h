// A task as the API shows it, decoded for printing. Fields that the supervisor left out are empty.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

struct TaskView {
  std::string id, agent, priority, worker, message;
  std::string state_text;  // as sent: a newer supervisor may know more states
  std::optional<TaskState> state;
  int attempt = 1;
  int preemptions = 0;
  std::string submitted_at, started_at, finished_at;
  std::optional<Duration> waited, ran;
  std::optional<double> progress;  // percent
  std::optional<Bytes> peak;
  std::optional<Bytes> result_bytes;  // of a result that is not inline
  bool has_result = false;            // inline or not
  std::optional<std::int64_t> log_bytes;

  std::string reason, error, stack;  // of a failure
  std::optional<int> exit_code, signal;
  bool quarantined = false;

  bool finished() const { return state && is_final(*state); }
};

TaskView decode_task(const nlohmann::json& object);

/// How long it ran, or has been running; empty while it waits.
std::string run_time(const TaskView& task, WallTime now);

/// `memory_cap: exceeded its 256MiB cap (peak 256MiB)`; the state alone when no error was given.
std::string describe_failure(const TaskView& task);

}  // namespace kurultai
