// Every transition is one Event value, given once to Events::emit, which hands it to a list of sinks fixed in
// main: log, metrics, streams. References in an Event are valid during the call only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "governance/leak_verdict.h"
#include "governance/machine_room.h"
#include "governance/pressure.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

struct Task;
struct MemorySnapshot;

struct TaskEvent {
  enum class Kind : unsigned char {
    queued,
    started,
    progress,
    suspended,
    resumed,
    preempted,
    completed,
    failed,
    cancelled,
    evicted
  } kind;
  const Task& task;
  std::string_view why = {};  // preempted: preempt, kill, retry, worker_lost …
  // started: from the moment it could be taken to its TASK line
  std::chrono::nanoseconds dispatch{};
  Duration reaction{};  // preempted and killed for memory: from the reading to the end
  // Id of the first decision against it: a later one may only have hurried it. Empty where none was made.
  std::string_view chosen_by = {};
};
struct TaskRejected {
  std::string_view agent;
  Priority priority;
  std::string_view code;
  std::string_view message;
};
struct HeartbeatSkipped {
  const Task& task;
  double ratio;
};
struct WorkerEvent {
  enum class Kind : unsigned char { spawned, ready, exited } kind;
  std::string_view worker_id;
  std::string_view agent;
  int pid;
  std::string_view reason = {};  // exited: WorkerEnd::Cause
  std::string_view message = {};
  Bytes peak{};
};
struct MemoryWarning {
  std::string_view worker_id;  // empty: the supervisor itself
  std::string_view agent;
  Bytes used, warning, limit;
  LeakLevel mark =
      LeakLevel::none;  // of those at which processes are suspected; none: the agent's own warning
};
struct LeakSuspected {
  std::string_view worker_id;  // empty: the supervisor itself
  std::string_view agent;
  Bytes used;
  const LeakVerdict& verdict;
};
struct ThresholdCrossed {
  Threshold threshold;
  Direction direction;
  double ratio;
  const MemorySnapshot& memory;
};
/// By what others use of the machine.
struct BudgetChanged {
  Bytes budget;  // in effect
  Bytes configured;
  MachineReading machine;
  Bytes reserve;
};
struct OrphanSwept {
  std::string_view worker_id;
  std::string_view task_id;  // empty: at the worker's own end
  int count;
};
struct ConfigReloaded {
  const std::vector<std::string>& live;
  const std::vector<std::string>& needs_restart;
};
struct DrainStatistics {
  std::string status = "draining";  // draining, completed, timed_out
  std::size_t initial = 0;
  std::size_t completed = 0;
  std::size_t remaining = 0;
  double duration_seconds = 0;
};
struct DrainEvent {
  bool done;
  const DrainStatistics& statistics;
};
struct BreakerChanged {
  std::string_view kind;  // agent, publisher, or called: what agents call
  std::string_view name;
  std::string_view from, to;
};

/// FF_MEMORY_GOVERNANCE=false: what would have been done.
struct Withheld {
  std::string_view action;   // wait, suspend, preempt, kill, reject, skip_heartbeat
  std::string_view task_id;  // empty: none
  double ratio;
};

using EventBody = std::variant<Withheld, TaskEvent, TaskRejected, HeartbeatSkipped, WorkerEvent,
                               MemoryWarning, LeakSuspected, ThresholdCrossed, BudgetChanged, OrphanSwept,
                               ConfigReloaded, DrainEvent, BreakerChanged>;

struct Event {
  std::uint64_t id;  // without gaps in a run of the supervisor
  WallTime time;
  std::string_view correlation_id;
  EventBody body;
};

/// What most events of tasks tell, and no more than that; taken from the task while it is as they found it.
struct TaskEventFacts {
  std::uint64_t id;
  WallTime time;
  TaskEvent::Kind kind;
  Priority priority;
  TaskState state;
  int attempt;
  std::string correlation_id;  // empty: the task's own
  std::string task_id, agent, worker_id;
  Duration ran, waited;
  Bytes peak;
};
/// Of an event that tells more: none.
std::optional<TaskEventFacts> facts_of(const Event& event);

/// The contract's name, one of `event_names`: workerSpawned, taskQueued …
std::string_view name_of(const Event& event);
std::string_view name_of(TaskEvent::Kind kind);
/// The task it is about; empty if none.
std::string_view task_of(const Event& event);
/// The agent likewise.
std::string_view agent_of(const Event& event);
/// The contract's JSON object.
std::string to_json(const Event& event);
std::string to_json(const TaskEventFacts& facts);
std::string to_json(const DrainStatistics& statistics);

/// The id of the first event of a supervisor that starts then: larger than any that an earlier one gave out,
/// as long as it told of less than a million events a second and the clock did not go back. Exact as a
/// double, so in JavaScript.
std::uint64_t first_event_id(WallTime start);

class Events {
 public:
  using Sink = std::function<void(const Event&)>;
  explicit Events(std::function<WallTime()> clock, std::uint64_t first_id = 1)
      : clock_(std::move(clock)), last_id_(first_id - 1) {}

  void add_sink(Sink sink) { sinks_.push_back(std::move(sink)); }
  void emit(std::string_view correlation_id, EventBody body);

 private:
  std::function<WallTime()> clock_;
  std::vector<Sink> sinks_;
  std::uint64_t last_id_;
};

}  // namespace kurultai
