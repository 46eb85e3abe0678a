#include "supervisor/history.h"

#include <utility>

#include "supervisor/task.h"

namespace kurultai {

namespace {

/// A run that stood still for a while has been put down, and so has one that the task was sent back from.
bool tells_of_unrecorded_run(const Task& task) {
  const auto& kept = task.past.kept;
  return !task.worker_id.empty() && (kept.empty() || kept.back().state == TaskState::queued);
}

Transition run_of(const Task& task) {
  return {TaskState::running, task.started_at.value_or(task.submitted_at), task.attempt, task.worker_id};
}

}  // namespace

void TaskPast::add(Transition one) {
  if (kept.size() == most) {
    kept.erase(kept.begin());
    dropped += 1;
  }
  kept.push_back(std::move(one));
}

void leave_run(Task& task) {
  if (tells_of_unrecorded_run(task)) task.past.add(run_of(task));
}

void enter(Task& task, TaskState state, WallTime now, std::string_view why) {
  leave_run(task);
  task.state = state;
  task.past.add({state, now, task.attempt, std::string(why)});
}

TaskHistory history_of(const Task& task) {
  TaskHistory history{{{TaskState::queued, task.submitted_at, 1, ""}}, task.past.dropped};
  auto& all = history.transitions;
  all.insert(all.end(), task.past.kept.begin(), task.past.kept.end());
  if (tells_of_unrecorded_run(task)) all.push_back(run_of(task));
  if (is_final(task.state) && task.finished_at) {
    const std::string_view why = task.error ? to_string(task.error->reason) : std::string_view();
    all.push_back({task.state, *task.finished_at, task.attempt, std::string(why)});
  }
  return history;
}

}  // namespace kurultai
