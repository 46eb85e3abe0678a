// The bounded queue of waiting tasks: five levels, strict priority, FIFO inside a level. It holds ids, not
// tasks. A task that ran and was sent back waits in front of its level, in a slot of its own beside the
// depth, so that a full queue never loses it.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "protocol/words.h"

namespace kurultai {

struct QueueLimits {
  std::size_t max_depth = 5;
  std::array<std::size_t, priority_count> per_level = {5, 5, 5, 5, 2};  // clamped to max_depth
};

struct Task;

struct QueuedTask {
  std::string task_id;  // unique in the queue: the caller sees to it
  std::string agent;    // of a heartbeat: its source
  Priority priority = Priority::normal;
  Task* task = nullptr;  // the caller's, which is not looked into here
};

class TaskQueue {
 public:
  explicit TaskQueue(QueueLimits limits) { set_limits(limits); }

  struct Accepted {
    std::size_t position;              // 1 is next
    std::vector<std::string> evicted;  // the heartbeats that had to go: their submitters must be told
  };
  struct Full {
    std::optional<Priority> level;  // set when the level's own limit refused it, not the depth
  };
  using Admission = std::variant<Accepted, Full>;

  /// What push would answer, without doing it.
  Admission admits(const QueuedTask& task, bool skipping_heartbeats) const;

  /// A full queue refuses, except that a CRITICAL task takes the place of the youngest waiting HEARTBEAT (of
  /// several when the limits were lowered below the depth); the level's own limit still holds. While
  /// heartbeats are skipped a source has at most one waiting: a newer one takes the place of the older ones.
  /// Returned tasks are never evicted or replaced. When both refuse, Full speaks of the depth.
  Admission push(QueuedTask task, bool skipping_heartbeats);

  /// A task that was accepted before, by an earlier supervisor: behind the others of its level, whatever the
  /// limits are now.
  void push_known(QueuedTask task);

  /// A task that ran comes back to the front of its level. Never refused.
  void push_returned(QueuedTask task);

  /// Takes out the first task, in order of service, for which `may_start` is true.
  std::optional<QueuedTask> take_first(const std::function<bool(const QueuedTask&)>& may_start);

  /// The first task in order of service for which `test` is true; nullptr when there is none.
  const QueuedTask* find_first(const std::function<bool(const QueuedTask&)>& test) const;

  /// False when no such task waits.
  bool remove(const std::string& task_id);

  /// Waiting tasks that count against the depth, and those beside it.
  std::size_t depth() const;
  std::size_t returned() const;
  std::size_t waiting(Priority priority) const;                           // both kinds
  std::optional<std::size_t> position(const std::string& task_id) const;  // 1 is next
  std::vector<std::string> in_order() const;                              // all that wait, the next one first
  const QueueLimits& limits() const { return limits_; }

  /// New limits hold for what comes; tasks that wait already keep their places.
  void set_limits(QueueLimits limits);

 private:
  using Test = std::function<bool(const QueuedTask&)>;
  struct Slot {
    QueuedTask task;
    bool returned = false;
  };
  struct Place {
    std::size_t level;
    std::size_t index;
  };

  std::optional<Place> locate(const Test& test) const;
  std::optional<Place> locate(const std::string& task_id) const;
  QueuedTask take(Place place);
  std::size_t position_of(Place place) const;
  std::vector<std::string> older_of_same_source(const QueuedTask& heartbeat) const;
  std::optional<std::vector<std::string>> evictions_for(Priority priority) const;

  std::array<std::deque<Slot>, priority_count> levels_;  // in each the returned tasks come first
  std::array<std::size_t, priority_count> counted_{};    // of each level, those that count against the depth
  QueueLimits limits_;
};

}  // namespace kurultai
