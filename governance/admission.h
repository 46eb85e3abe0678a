// Whether a waiting task may start: whether what it will probably use fits below the preempt threshold,
// together with what runs. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "governance/victims.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

struct WorkerLoad {
  std::string worker_id;
  Bytes held;      // now
  Bytes expected;  // the largest footprint of the tasks it has
  enum class Standing : unsigned char {
    idle,     // no task: it may be ended
    busy,     // has a task
    leaving,  // its memory is on its way back
    stuck     // that was expected earlier, and nobody waits for it any longer
  } standing = Standing::idle;
  TimePoint idle_since{};
};

/// What a worker is good for until its tasks end: they may still grow to their footprint.
Bytes committed(const WorkerLoad& worker);

struct RoomQuestion {
  Bytes line;       // what may be committed in all
  Bytes elsewhere;  // what no worker holds: the supervisor itself, files in memory that outlived theirs
  std::span<const WorkerLoad> workers;
  /// Where the task would run, which then counts once; empty: in a new one.
  std::string_view worker;
  Priority priority = Priority::normal;  // of the task
  Bytes footprint;                       // of the task
  /// The tasks that run, elsewhere than in `worker`; their `memory` is what is committed to them.
  std::span<const Candidate> running;
};

struct StartTask {
  bool fits = true;  // false: it starts only because nothing else runs
};
/// Room can be made: these idle workers end, those tasks are preempted. Neither: enough is on its way back.
struct MakeRoom {
  std::vector<std::string> end_workers;
  std::vector<std::string> preempt;
};
struct WaitForRoom {};
using Admission = std::variant<StartTask, MakeRoom, WaitForRoom>;

/// Idle workers give way before any task, those first that have been idle for longest; then tasks of a lower
/// priority that may be preempted. Nothing ends in vain: only where all of it together is enough, and none
/// that the others make superfluous. While nothing runs and nothing is on its way back everything may start,
/// or a large task would wait for ever.
Admission admit(const RoomQuestion& question);

/// What would be committed in all, were the task to start.
Bytes committed_with(const RoomQuestion& question);

}  // namespace kurultai
