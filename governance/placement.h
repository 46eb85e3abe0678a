// Which worker gets the next task. Pure: the pool shows its workers, the answer says what to do.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

struct WorkerView {
  std::string worker_id;
  std::string agent;
  Bytes memory_limit;
  enum class Standing { starting, idle, busy, ending } standing = Standing::idle;
  int free_slots = 0;  // of one that is busy or starting, with `concurrency`
  TimePoint idle_since;
  bool suspect = false;  // its last check failed, or its task has been silent for long
};

struct UseWorker {
  std::string worker_id;
};
struct SpawnWorker {};
struct YieldWorker {  // end this idle worker of another agent; its place is free when it is gone
  std::string worker_id;
};
struct WaitForWorker {};
struct WaitForOwn {};  // its agent has all the workers it may have: tasks of others need not wait for that
using Placement = std::variant<UseWorker, SpawnWorker, YieldWorker, WaitForWorker, WaitForOwn>;

/// What a task asks of its worker. One with another limit is as good as another agent's.
struct WantedWorker {
  std::string_view agent;
  Bytes memory_limit;
  int max_workers = 0;  // of this agent; 0: any number
};

/// An idle worker of that kind first (the one idle for the shortest time: warmest), then a free slot of a
/// busy one (the one with most of them free), then one of a worker that is starting: its task waits there for
/// READY, and no second worker is made for what one can do. A suspect one only where all that are left are
/// suspect: its next check may pass. Then a new worker while there are fewer than
/// `max_workers` (those that are ending count) and fewer of its agent than that may have (then one of them
/// with another limit yields, if it is idle), then the place of another agent's idle worker (the one idle
/// longest). While a place is on its way already, because a worker is ending, no further one yields: else
/// asking again would end them all.
Placement place(const WantedWorker& wanted, std::span<const WorkerView> workers, int max_workers);

}  // namespace kurultai
