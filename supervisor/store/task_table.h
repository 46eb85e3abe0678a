// All tasks that are known: running, waiting, and the newest finished ones. Ids sort by the time of
// submission. Lives on the loop thread. A Task's address is stable until it is dropped, and only finished
// tasks are dropped.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/task.h"

namespace kurultai {

struct Retention {
  Duration age{};
  std::size_t max_finished = 0;
  Bytes max_bytes{};  // payloads and results of finished tasks that are held in memory
  Bytes max_spooled{std::numeric_limits<std::int64_t>::max()};  // their results and logs that are in files
};

class TaskTable {
 public:
  /// `dropped` is told about each task that leaves the table (its spooled files go with it).
  TaskTable(Retention retention, std::function<void(const Task&)> dropped);

  /// Gives the task its id: 16 characters of lower-case base 32 that sort by time (45 bits of milliseconds,
  /// 35 random).
  Task& add(Task task, WallTime now);
  /// One that was known before, with its id.
  Task& restore(Task task);
  /// Takes out a task that was never accepted.
  void withdraw(const std::string& id);
  Task* find(const std::string& id);
  const Task* find(const std::string& id) const;
  /// The task that was submitted with this key for this agent; nullptr if none is kept.
  const Task* find_key(const std::string& agent, const std::string& key) const;

  /// Call when a task reached its final state. Drops the oldest finished ones beyond the limits.
  void finished(const Task& task, WallTime now);
  /// Drops what is too old.
  void expire(WallTime now);
  /// Drops the oldest finished ones beyond it, at once.
  void set_retention(Retention retention);

  enum class Order : unsigned char { oldest_first, newest_first };
  /// By the time of submission, those behind id `after` (empty: from the start) that `wanted` accepts; at
  /// most `limit`.
  std::vector<const Task*> list(const std::string& after, std::size_t limit,
                                const std::function<bool(const Task&)>& wanted,
                                Order order = Order::oldest_first) const;
  std::size_t size() const { return tasks_.size(); }

 private:
  struct Finished {
    const Task* task;
    WallTime at;
    std::int64_t bytes;
    std::int64_t spooled;
  };
  Task& keep(Task task);
  void forget_key(const Task& task);
  void shrink();
  void drop_oldest();
  std::uint64_t random_bits();
  std::string new_id(WallTime now);

  Retention retention_;
  std::function<void(const Task&)> dropped_;
  std::map<std::string_view, std::unique_ptr<Task>> tasks_;  // by the id that stands in the task
  std::map<std::string, std::string, std::less<>> keys_;     // agent NUL key → task id
  std::deque<Finished> finished_;                            // oldest first
  std::int64_t finished_bytes_ = 0;
  std::int64_t finished_spooled_ = 0;
  std::uint64_t last_id_ = 0;
  std::array<std::uint64_t, 32> random_{};
  std::size_t random_left_ = 0;
};

}  // namespace kurultai
