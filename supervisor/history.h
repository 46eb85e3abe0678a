// What a task has gone through: every state that it entered, and when. Its submission, its present or last
// run and its end stand in the task itself; kept beside them is only what these have overwritten, so that a
// task which runs once costs nothing more, in memory and in the journal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

struct Task;

struct Transition {
  TaskState state = TaskState::queued;
  WallTime at;
  int attempt = 1;
  std::string why;  // of `running` its worker; of the others the reason, empty: none

  bool operator==(const Transition&) const = default;
};

/// The past of a task: the newest are kept.
struct TaskPast {
  static constexpr std::size_t most = 32;

  std::vector<Transition> kept;  // oldest first
  int dropped = 0;               // before those

  void add(Transition one);
};

/// The run that was begun, if it is not there yet, becomes part of the past: another state follows.
void leave_run(Task& task);
/// The task is in another state from now on, which is no beginning of a run and no end.
void enter(Task& task, TaskState state, WallTime now, std::string_view why);

/// All of it, oldest first, with how many are missing behind the first.
struct TaskHistory {
  std::vector<Transition> transitions;
  int dropped = 0;
};
TaskHistory history_of(const Task& task);

}  // namespace kurultai
