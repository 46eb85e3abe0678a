// What of the dispatcher has to outlive it: the acceptance of a task, its state, its end. Nobody is told of
// the first and the last before they are on disk.
#include <algorithm>
#include <array>
#include <ranges>
#include <utility>

#include "supervisor/dispatcher.h"

namespace kurultai {

void Dispatcher::keep(const Task& task) {
  if (task.durable) journal_->change(task);
}

void Dispatcher::when_kept(const std::string& task_id, std::function<void(const Task*)> then) {
  const Task* task = tasks_.find(task_id);
  if (task == nullptr || !task->durable) return then(task);
  journal_->change(*task, [this, task_id, then = std::move(then)] { then(tasks_.find(task_id)); });
}

/// The task has its place in the queue, and `evicted` have lost theirs.
void Dispatcher::accept(Task& task, std::vector<std::string> evicted, Answer answer) {
  unanswered_[task.id].push_back(std::move(answer));
  if (!task.durable) return accepted(task.id, evicted);
  std::vector<const Task*> kept;
  for (const std::string& id : evicted) {
    Task& one = *tasks_.find(id);
    one.waited = std::chrono::duration_cast<Duration>(loop_.now() - one.queued_since);
    write_end(one, TaskState::evicted, TaskError{FailReason::evicted, "made room for task " + task.id});
    if (one.durable) kept.push_back(&one);
  }
  journal_->accept(task, kept, [this, id = task.id, evicted = std::move(evicted)](const Result<void>& done) {
    if (done) {
      accepted(id, evicted);
    } else {
      not_accepted(id, evicted, done.error().message);
    }
  });
}

void Dispatcher::accepted(const std::string& task_id, const std::vector<std::string>& evicted) {
  Task& task = *tasks_.find(task_id);
  task.accepted = true;
  events_.emit(task.id, TaskEvent{TaskEvent::Kind::queued, task});
  for (const std::string& id : evicted) {
    Task* one = tasks_.find(id);
    if (one == nullptr) continue;  // it was not accepted itself
    if (one->ends_as) {
      tell_of_end(*one, nullptr);  // written down with this one
    } else {
      end_waiting(*one, TaskState::evicted, FailReason::evicted, "made room for task " + task.id);
    }
  }
  auto answers = unanswered_.extract(task_id);
  pump();
  for (const Answer& answer : answers.mapped()) answer(&task);
}

void Dispatcher::not_accepted(const std::string& task_id, const std::vector<std::string>& evicted,
                              const std::string& why) {
  queue_.remove(task_id);
  record(EndedSeen{loop_.now(), task_id, "not_accepted"});
  for (const std::string& id : evicted) {
    Task* one = tasks_.find(id);
    if (one == nullptr) continue;
    one->ends_as.reset();
    one->error.reset();
    one->finished_at.reset();
    queue_.push_returned(queued(*one));
    record_returned(*one, "not_evicted");
    if (one->accepted) keep(*one);  // what of it is on disk is unknown
  }
  const Refusal refusal = cannot_keep(why);
  const Task& task = *tasks_.find(task_id);
  if (!task.payload_file.path.empty()) count_payload(-task.payload_file.bytes);
  events_.emit("", TaskRejected{task.agent, task.priority, to_string(refusal.code), refusal.message});
  give_probe_back(task);
  auto answers = unanswered_.extract(task_id);
  tasks_.withdraw(task_id);
  pump();
  for (const Answer& answer : answers.mapped()) answer(std::unexpected(refusal));
}

/// All that is known of its end, before anybody is told.
void Dispatcher::write_end(Task& task, TaskState state, std::optional<TaskError> error) {
  task.ends_as = state;
  task.error = std::move(error);
  task.finished_at = loop_.wall_now();
  task.checkpoint = {};  // it never runs again
  if (state == TaskState::completed) task.progress = 100;
}

void Dispatcher::finish(Task& task, TaskState state, std::optional<TaskError> error, const Stop* stop) {
  record_ended(task, state);
  write_end(task, state, std::move(error));
  if (!task.durable) return tell_of_end(task, stop);
  settling_ += 1;
  auto stopped = stop == nullptr ? std::nullopt : std::optional(*stop);
  journal_->change(task, [this, id = task.id, stopped = std::move(stopped)] {
    settling_ -= 1;
    tell_of_end(*tasks_.find(id), stopped ? &*stopped : nullptr);
  });
}

void Dispatcher::tell_of_end(Task& task, const Stop* stop) {
  static constexpr std::array kinds = {TaskEvent::Kind::completed, TaskEvent::Kind::failed,
                                       TaskEvent::Kind::cancelled, TaskEvent::Kind::evicted};
  task.state = *std::exchange(task.ends_as, std::nullopt);
  // It never runs again. Its digest stays, for whoever submits it again.
  if (!task.payload_file.path.empty()) {
    remove_file(loop_, std::exchange(task.payload_file.path, {}));
    count_payload(-task.payload_file.bytes);
  }
  give_probe_back(task);
  count_outcome(task);
  learn_footprint(task);
  const auto kind =
      kinds.at(static_cast<std::size_t>(task.state) - static_cast<std::size_t>(TaskState::completed));
  if (stop != nullptr) {
    tell_of_stop(*stop, TaskEvent{kind, task, stop->why});
  } else {
    events_.emit(task.id, TaskEvent{kind, task});
  }
  if (on_log_) on_log_(task);
  tasks_.finished(task, loop_.wall_now());
  if (is_draining()) check_drained();
}

std::vector<const Task*> Dispatcher::tasks_to_keep() const {
  return tasks_.list("", tasks_.size(), [](const Task& task) { return task.durable && task.accepted; });
}

void Dispatcher::keep_tasks(Journal& journal, std::vector<Task> known) {
  journal_ = &journal;
  std::vector<const Task*> ended;  // the oldest end is forgotten first
  std::vector<QueuedTask> ran;
  for (Task& one : known) {
    if (!one.result.file.empty()) one.result.file = spool_directory_ + "/" + one.result.file;
    if (is_final(one.state)) one.payload_file.path.clear();
    if (!one.payload_file.path.empty()) {
      payload_bytes_ += one.payload_file.bytes;
      one.payload_file.path = pool_.payloads() + "/" + one.payload_file.path;
    }
    Task& task = tasks_.restore(std::move(one));
    if (is_final(task.state)) {
      ended.push_back(&task);
    } else {
      go_on_with(task, ran);
    }
  }
  count_payload(0);
  const auto end_of = [](const Task* task) { return task->finished_at.value_or(task->submitted_at); };
  std::ranges::sort(ended, {}, end_of);
  for (const Task* task : ended) tasks_.finished(*task, end_of(task));
  for (QueuedTask& task : ran | std::views::reverse) {  // in their order
    record_returned(*tasks_.find(task.task_id), to_string(FailReason::supervisor_restart));
    queue_.push_returned(std::move(task));
  }
  housekeeping();
  pump();
}

/// Tasks that an earlier supervisor had begun are added to `ran`.
void Dispatcher::go_on_with(Task& task, std::vector<QueuedTask>& ran) {
  const bool was_begun = task.state != TaskState::queued;
  const auto agent = agent_of(task.agent);
  task.queued_since = loop_.now();
  if (task.cancel_asked) {
    return finish(task, TaskState::cancelled, TaskError{FailReason::cancelled, "cancelled by a client"});
  }
  if (was_begun && agent != nullptr && !agent->idempotent) {
    return finish(
        task, TaskState::failed,
        TaskError{FailReason::supervisor_restart,
                  "the supervisor ended while it ran, and it may run once only (idempotent: false)"});
  }
  const int most = agent == nullptr ? 0 : agent->max_preemptions;
  if (was_begun && agent != nullptr && task.preemptions >= most) {
    return finish(
        task, TaskState::failed,
        TaskError{FailReason::memory_budget, "its supervisor ended while it ran, and it was sent back " +
                                                 std::to_string(most) + " times before (max_preemptions)"});
  }
  if (was_begun) enter(task, TaskState::queued, loop_.wall_now(), to_string(FailReason::supervisor_restart));
  task.worker_id.clear();
  if (was_begun) {
    task.preemptions += 1;
    keep(task);
  }
  if (was_begun || task.preemptions > 0 || task.attempt > 1) {
    ran.push_back(queued(task));
  } else {
    queue_.push_known(queued(task));
    record(SubmittedSeen{loop_.now(), task.id, task.agent, task.priority, true});
  }
}

}  // namespace kurultai
