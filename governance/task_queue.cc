#include "governance/task_queue.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

namespace kurultai {
namespace {

constexpr std::size_t index_of(Priority priority) { return static_cast<std::size_t>(priority); }
constexpr std::size_t heartbeats = index_of(Priority::heartbeat);

}  // namespace

void TaskQueue::set_limits(QueueLimits limits) {
  limits_ = limits;
  for (std::size_t& level : limits_.per_level) level = std::min(level, limits_.max_depth);
}

TaskQueue::Admission TaskQueue::admits(const QueuedTask& task, bool skipping_heartbeats) const {
  if (skipping_heartbeats && task.priority == Priority::heartbeat) {
    auto older = older_of_same_source(task);
    if (!older.empty()) return Accepted{position_of(*locate(older.front())), std::move(older)};
  }
  auto evicted = evictions_for(task.priority);
  if (!evicted) return Full{};
  const std::size_t level = index_of(task.priority);
  if (counted_[level] >= limits_.per_level[level]) return Full{task.priority};
  return Accepted{position_of({level, levels_[level].size()}), *std::move(evicted)};
}

TaskQueue::Admission TaskQueue::push(QueuedTask task, bool skipping_heartbeats) {
  Admission admission = admits(task, skipping_heartbeats);
  const auto* accepted = std::get_if<Accepted>(&admission);
  if (accepted == nullptr) return admission;

  const std::size_t level = index_of(task.priority);
  std::size_t index = levels_[level].size();
  // A heartbeat evicts nothing but older ones of its source, and stands where the oldest of them stood.
  if (level == heartbeats && !accepted->evicted.empty()) index = locate(accepted->evicted.front())->index;
  for (const std::string& id : accepted->evicted) remove(id);
  levels_[level].insert(std::next(levels_[level].begin(), static_cast<std::ptrdiff_t>(index)),
                        Slot{std::move(task), false});
  ++counted_[level];
  return admission;
}

void TaskQueue::push_known(QueuedTask task) {
  const std::size_t level = index_of(task.priority);
  levels_[level].push_back(Slot{std::move(task), false});
  counted_[level] += 1;
}

void TaskQueue::push_returned(QueuedTask task) {
  auto& level = levels_[index_of(task.priority)];
  level.push_front(Slot{std::move(task), true});
}

std::optional<QueuedTask> TaskQueue::take_first(const Test& may_start) {
  const auto place = locate(may_start);
  if (!place) return std::nullopt;
  return take(*place);
}

const QueuedTask* TaskQueue::find_first(const Test& test) const {
  const auto place = locate(test);
  return place ? &levels_[place->level][place->index].task : nullptr;
}

bool TaskQueue::remove(const std::string& task_id) {
  const auto place = locate(task_id);
  if (place) take(*place);
  return place.has_value();
}

std::size_t TaskQueue::depth() const { return std::reduce(counted_.begin(), counted_.end()); }

std::size_t TaskQueue::returned() const {
  return position_of({priority_count, 0}) - 1 - depth();  // all that wait, less those that count
}

std::size_t TaskQueue::waiting(Priority priority) const { return levels_[index_of(priority)].size(); }

std::optional<std::size_t> TaskQueue::position(const std::string& task_id) const {
  const auto place = locate(task_id);
  if (!place) return std::nullopt;
  return position_of(*place);
}

std::optional<TaskQueue::Place> TaskQueue::locate(const Test& test) const {
  for (std::size_t level = 0; level < priority_count; ++level) {
    const auto& slots = levels_[level];
    const auto found = std::ranges::find_if(slots, std::cref(test), &Slot::task);
    if (found != slots.end()) return Place{level, static_cast<std::size_t>(found - slots.begin())};
  }
  return std::nullopt;
}

/// Asked for are mostly the one that starts, at the front, and the one that has just come, at the back.
std::optional<TaskQueue::Place> TaskQueue::locate(const std::string& task_id) const {
  for (std::size_t level = 0; level < priority_count; ++level) {
    const auto& slots = levels_[level];
    if (!slots.empty() && slots.front().task.task_id == task_id) return Place{level, 0};
    for (std::size_t index = slots.size(); index-- > 0;) {
      if (slots[index].task.task_id == task_id) return Place{level, index};
    }
  }
  return std::nullopt;
}

std::vector<std::string> TaskQueue::in_order() const {
  std::vector<std::string> ids;
  for (const auto& slots : levels_) {
    for (const Slot& slot : slots) ids.push_back(slot.task.task_id);
  }
  return ids;
}

QueuedTask TaskQueue::take(Place place) {
  auto& slots = levels_[place.level];
  const auto slot = std::next(slots.begin(), static_cast<std::ptrdiff_t>(place.index));
  if (!slot->returned) --counted_[place.level];
  QueuedTask task = std::move(slot->task);
  slots.erase(slot);
  return task;
}

std::size_t TaskQueue::position_of(Place place) const {
  std::size_t ahead = place.index;
  for (std::size_t level = 0; level < place.level; ++level) ahead += levels_[level].size();
  return ahead + 1;
}

std::vector<std::string> TaskQueue::older_of_same_source(const QueuedTask& heartbeat) const {
  std::vector<std::string> older;
  for (const Slot& slot : levels_[heartbeats]) {
    if (!slot.returned && slot.task.agent == heartbeat.agent) older.push_back(slot.task.task_id);
  }
  return older;
}

// Which heartbeats, the youngest first, have to go for one more task; nullopt when that would not make room.
std::optional<std::vector<std::string>> TaskQueue::evictions_for(Priority priority) const {
  const std::size_t wanted = depth() + 1;
  const std::size_t missing = wanted - std::min(wanted, limits_.max_depth);
  if (missing == 0) return std::vector<std::string>{};
  if (priority != Priority::critical || counted_[heartbeats] < missing) return std::nullopt;
  std::vector<std::string> evicted;
  const auto& slots = levels_[heartbeats];
  // The last ones are never returned ones: those stand in front.
  std::transform(slots.rbegin(), std::next(slots.rbegin(), static_cast<std::ptrdiff_t>(missing)),
                 std::back_inserter(evicted), [](const Slot& slot) { return slot.task.task_id; });
  return evicted;
}

}  // namespace kurultai
