// The queue against a model that is too simple to be wrong: one list, searched anew for every question.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include "governance/task_queue.h"

namespace kurultai::task_queue_model_test {
namespace {

class Model {
 public:
  explicit Model(QueueLimits limits) : limits_(limits) {}

  void set_limits(QueueLimits limits) { limits_ = limits; }

  TaskQueue::Admission push(const QueuedTask& task, bool skipping) {
    const bool is_heartbeat = task.priority == Priority::heartbeat;
    std::vector<std::string> evicted;
    if (skipping && is_heartbeat) {
      for (const Entry& entry : entries_) {
        if (is_fresh(entry, task.priority) && entry.task.agent == task.agent)
          evicted.push_back(entry.task.task_id);
      }
      if (!evicted.empty()) {
        const std::size_t at = *position(evicted.front());
        *std::ranges::find(entries_, evicted.front(), &Entry::id) = {task, false};
        for (const std::string& id : evicted) remove(id);
        return TaskQueue::Accepted{at, evicted};
      }
    }
    if (depth() >= limits_.max_depth) {
      if (task.priority != Priority::critical) return TaskQueue::Full{};
      std::size_t need = depth() + 1 - limits_.max_depth;
      for (auto entry = entries_.rbegin(); entry != entries_.rend() && need > 0; ++entry) {
        if (is_fresh(*entry, Priority::heartbeat)) evicted.push_back(entry->task.task_id), --need;
      }
      if (need > 0) return TaskQueue::Full{};
    }
    const auto same_level =
        std::ranges::count_if(entries_, [&](const Entry& e) { return is_fresh(e, task.priority); });
    const auto level_limit =
        std::min(limits_.per_level[static_cast<std::size_t>(task.priority)], limits_.max_depth);
    if (static_cast<std::size_t>(same_level) >= level_limit) return TaskQueue::Full{task.priority};
    for (const std::string& id : evicted) remove(id);
    insert({task, false}, [&](const Entry& e) { return e.task.priority > task.priority; });
    return TaskQueue::Accepted{*position(task.task_id), evicted};
  }

  void push_returned(const QueuedTask& task) {
    insert({task, true}, [&](const Entry& e) { return e.task.priority >= task.priority; });
  }

  template <typename Test>
  std::optional<QueuedTask> take_first(Test test) {
    const auto found = std::ranges::find_if(entries_, test, &Entry::task);
    if (found == entries_.end()) return std::nullopt;
    QueuedTask task = found->task;
    entries_.erase(found);
    return task;
  }

  bool remove(const std::string& id) {
    return std::erase_if(entries_, [&](const Entry& e) { return e.task.task_id == id; }) > 0;
  }

  std::optional<std::size_t> position(const std::string& id) const {
    const auto found = std::ranges::find(entries_, id, &Entry::id);
    if (found == entries_.end()) return std::nullopt;
    return static_cast<std::size_t>(found - entries_.begin()) + 1;
  }
  std::size_t returned() const {
    return static_cast<std::size_t>(std::ranges::count(entries_, true, &Entry::returned));
  }
  std::size_t depth() const { return entries_.size() - returned(); }
  std::size_t waiting(Priority priority) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(entries_, [&](const Entry& e) { return e.task.priority == priority; }));
  }

 private:
  struct Entry {
    QueuedTask task;
    bool returned;
    const std::string& id() const { return task.task_id; }
  };

  static bool is_fresh(const Entry& entry, Priority priority) {
    return !entry.returned && entry.task.priority == priority;
  }
  template <typename Before>
  void insert(Entry entry, Before before) {
    entries_.insert(std::ranges::find_if(entries_, before), std::move(entry));
  }

  QueueLimits limits_;
  std::vector<Entry> entries_;  // in order of service
};

std::string text_of(const TaskQueue::Admission& admission) {
  if (const auto* full = std::get_if<TaskQueue::Full>(&admission)) {
    return full->level ? "full " + std::string(to_string(*full->level)) : "full";
  }
  const auto& accepted = std::get<TaskQueue::Accepted>(admission);
  std::string text = "at " + std::to_string(accepted.position);
  for (const std::string& id : accepted.evicted) text += " -" + id;
  return text;
}

std::string text_of(const std::optional<QueuedTask>& task) {
  return task ? task->task_id + " " + task->agent : "none";
}

TEST_CASE("a hundred thousand random operations agree with the model") {
  std::mt19937 random(19);
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const auto some_limits = [&below] {
    QueueLimits limits{.max_depth = below(13), .per_level = {}};
    for (std::size_t& level : limits.per_level) level = below(10);
    return limits;
  };
  const std::array<std::string, 3> agents = {"a", "b", "c"};

  QueueLimits limits{.max_depth = 8, .per_level = {4, 4, 4, 4, 5}};
  TaskQueue queue(limits);
  Model model(limits);
  bool skipping = false;
  std::size_t ids = 0;
  std::size_t evictions = 0;
  std::size_t disagreements = 0;
  const auto some_id = [&] { return std::to_string(ids - std::min(ids, below(30))); };

  for (int operation = 0; operation < 100'000 && disagreements == 0; ++operation) {
    std::string expected;
    std::string answer;
    const std::size_t depth_before = queue.depth();
    bool accepted = false;
    const std::size_t kind = below(100);
    if (kind < 55) {
      const QueuedTask task{std::to_string(++ids), agents[below(3)], all_priorities[below(priority_count)]};
      const std::string foretold = text_of(queue.admits(task, skipping));
      const auto admission = queue.push(task, skipping);
      answer = text_of(admission);
      expected = text_of(model.push(task, skipping));
      if (const auto* taken_in = std::get_if<TaskQueue::Accepted>(&admission)) {
        accepted = true;
        evictions += taken_in->evicted.size();
      }
      disagreements += foretold != answer;
    } else if (kind < 62) {
      const QueuedTask task{std::to_string(++ids), agents[below(3)], all_priorities[below(priority_count)]};
      queue.push_returned(task);
      model.push_returned(task);
    } else if (kind < 80) {
      const std::size_t may = below(4);  // 3: everyone
      const auto test = [&](const QueuedTask& task) { return may == 3 || task.agent == agents[may]; };
      const QueuedTask* first = queue.find_first(test);
      const std::string found = first == nullptr ? "none" : first->task_id + " " + first->agent;
      answer = text_of(queue.take_first(test));
      expected = text_of(model.take_first(test));
      disagreements += found != answer;
    } else if (kind < 95) {
      const std::string id = some_id();
      answer = queue.remove(id) ? "removed" : "unknown";
      expected = model.remove(id) ? "removed" : "unknown";
    } else if (kind < 98) {
      skipping = !skipping;
    } else {
      limits = some_limits();
      queue.set_limits(limits);
      model.set_limits(limits);
    }

    disagreements += answer != expected;
    disagreements += queue.depth() != model.depth() || queue.returned() != model.returned();
    for (const Priority priority : all_priorities)
      disagreements += queue.waiting(priority) != model.waiting(priority);
    const std::string id = some_id();
    disagreements += queue.position(id) != model.position(id);
    disagreements += accepted && queue.depth() > std::max(limits.max_depth, depth_before);
    INFO("operation ", operation, ": ", answer, ", expected ", expected);
    REQUIRE(disagreements == 0);
  }
  CHECK(evictions > 1000);
}

}  // namespace
}  // namespace kurultai::task_queue_model_test
