// A task, from its submission to its end, as the supervisor keeps it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "governance/receipt.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/messages.h"
#include "protocol/words.h"
#include "supervisor/history.h"

namespace kurultai {

struct TaskError {
  FailReason reason = FailReason::agent_error;
  std::string message = {};
  std::string stack = {};
  std::optional<int> exit_code = {};
  std::optional<int> signal = {};
  bool quarantined = false;  // all the memory that it may have is not enough
};

/// An attempt that ended by the task's own cap, and gave it a larger one.
struct MemoryDeath {
  Bytes cap;
  Bytes peak;
  Duration ran;  // until then
  WallTime at;
};

/// The result: at most 64 KiB here as JSON, anything else in a file of the spool.
struct TaskResult {
  JsonText inline_json;    // empty: none
  std::string file;        // path in the spool; empty: none
  std::int64_t bytes = 0;  // of what `GET …/result` gives
};

/// A payload that came as bytes, in a file of the spool, for as long as the task may run.
struct PayloadFile {
  std::string path;  // empty: none
  std::int64_t bytes = 0;
  std::string digest;  // which tells payloads apart
};

/// A decision of the governor over this task, and what came of it.
struct TaskReceipt {
  std::string id;                          // of the decision
  std::shared_ptr<const Receipt> receipt;  // one for all who were chosen together; none: as `text`
  JsonText text = {};                      // as an earlier supervisor wrote it down
  std::optional<Duration> reaction = {};   // from the decision to the end of the run
};

struct Task {
  std::string id;
  std::string agent;
  JsonText payload;  // empty: none, or
  PayloadFile payload_file;
  Priority priority = Priority::normal;
  Duration timeout{};
  int retries = 0;
  std::optional<Bytes> memory_limit;       // its own cap; absent: its agent's
  std::optional<Bytes> grown_limit;        // in their place, since it died of a smaller one
  std::vector<MemoryDeath> memory_deaths;  // where the agent's caps grow; oldest first
  std::string idempotency_key;
  std::string size_class;  // tasks of one need about as much memory; empty: its agent's

  bool durable = false;   // in the journal, as its agent wants it
  bool accepted = false;  // by now: nobody is told of it before

  TaskState state = TaskState::queued;
  std::optional<TaskState> ends_as;  // its end, with all figures of it, is being written down
  int attempt = 1;
  int preemptions = 0;
  WallTime submitted_at;
  std::optional<WallTime> started_at;
  std::optional<WallTime> finished_at;
  TimePoint queued_since;  // for the wait, on the clock that never jumps
  TimePoint run_since;
  TimePoint not_before{};  // while others run: the pause after a preemption
  Duration waited{};
  Duration ran{};

  std::string worker_id;
  std::optional<double> progress;
  std::string message;
  Bytes peak;
  JsonText checkpoint;
  TaskResult result;
  std::optional<TaskError> error;
  std::int64_t log_bytes = 0;         // of stderr and LOG lines that are kept, in a file
  std::vector<TaskReceipt> receipts;  // the newest few, oldest first
  TaskPast past;
  bool cancel_asked = false;  // that was answered, so it holds whatever happens
  bool skip_counted = false;  // a heartbeat that was passed over is counted once
  bool left_early = false;    // it gave way to a prediction, and does so once
  int passes = 0;             // tasks behind it that started while it waited for room
  bool wait_told = false;     // with governance off: that it would have had to wait
};

/// The contract's task object, as JSON.
JsonText to_json(const Task& task);
/// And all that it has gone through, for who asks for this one.
JsonText to_json_with_history(const Task& task);
JsonText to_json(const TaskReceipt& receipt);
JsonText to_json(const std::vector<MemoryDeath>& deaths);

}  // namespace kurultai
