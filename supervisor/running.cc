// The dispatcher: a task goes to its worker.
#include <algorithm>

#include "protocol/output_order.h"
#include "supervisor/dispatcher.h"
#include "supervisor/workers/fill_command.h"
#include "supervisor/workers/launch.h"

namespace kurultai {

namespace {

/// Empty where the host is to take stdout as it is.
JsonText output_order_of(const AgentOutput& output, Bytes max_line) {
  switch (output.kind) {
    case OutputKind::none:
      return to_text(OutputOrder{.is_log = true});
    case OutputKind::jsonl:
      return to_text(OutputOrder{.max_line = max_line, .rules = output.rules});
    case OutputKind::text:
    case OutputKind::json:
      return {};
  }
  return {};
}

}  // namespace

std::string Dispatcher::result_name(const Task& task) {
  return task.id + "-" + std::to_string(task.attempt) + "-" + std::to_string(task.preemptions);
}

std::string Dispatcher::result_file(const Task& task) const {
  return spool_directory_ + "/" + result_name(task);
}

std::optional<Dispatcher::PartialResult> Dispatcher::partial_result(const std::string& task_id) const {
  const auto found = runs_.find(task_id);
  if (found == runs_.end()) return {};
  const Run& run = found->second;
  const std::string name = result_file(run.task);
  const bool in_memory = run.agent->protocol != AgentProtocol::exec && run.spool == nullptr;
  return PartialResult{in_memory ? "" : name, in_memory ? std::string_view(run.chunks) : ""};
}

/// That a task which may run once only was begun is on disk before its agent hears of it.
void Dispatcher::begin(Run& run) {
  Task& task = run.task;
  task.state = TaskState::running;
  task.worker_id = run.worker->id();
  task.started_at = loop_.wall_now();
  rank(*run.worker);
  if (!task.durable || run.agent->idempotent) {
    keep(task);
    return deliver(run);
  }
  journal_->change(task, [this, id = task.id, begin = task.started_at] {
    if (Run* same = find_begun(id, begin)) deliver(*same);
  });
}

/// By the most important of its tasks. The exec host does it for each command.
void Dispatcher::rank(Worker& worker) {
  if (worker.agent().protocol == AgentProtocol::exec) return;
  Priority highest = Priority::heartbeat;
  for (const std::string& id : worker.tasks()) highest = std::min(highest, runs_.at(id).task.priority);
  worker.rank(oom_score_adj_of(highest));
}

/// Its worker may have died meanwhile, and another begun with it.
Dispatcher::Run* Dispatcher::find_begun(const std::string& task_id, const std::optional<WallTime>& begin) {
  const auto found = runs_.find(task_id);
  if (found == runs_.end()) return nullptr;
  Run& run = found->second;
  const bool same = run.worker != nullptr && !run.sent && run.task.started_at == begin;
  return same && run.worker->state() == Worker::State::serving ? &run : nullptr;
}

/// With a payload that its agent's user alone may read, if it came as bytes.
void Dispatcher::deliver(Run& run) {
  const Task& task = run.task;
  const auto uid = run.worker->spec().uid;
  if (task.payload_file.path.empty() || !uid || is_hosted(run.agent->protocol)) return send(run);
  hand_over_file(loop_, task.payload_file.path, *uid,
                 [this, guard = std::weak_ptr(alive_), id = task.id,
                  begin = task.started_at](const Result<void>& given) {
                   Run* same = guard.expired() ? nullptr : find_begun(id, begin);
                   if (same == nullptr) return;
                   if (given) return send(*same);
                   end_run(*same, {.ending = Ending::spawn_failed, .message = given.error().message});
                 });
}

void Dispatcher::send(Run& run) {
  Task& task = run.task;
  Worker& worker = *run.worker;
  const TimePoint now = loop_.now();
  task.run_since = now;
  task.waited = std::chrono::duration_cast<Duration>(now - task.queued_since);
  run.sent = true;
  run.last_progress = now;
  run.saved = now;
  if (worker.tasks().size() == 1) {
    worker.forget_oom();
    worker.reset_peak();
  }
  if (governs_edges()) grants_.busy();
  if (run.agent->protocol == AgentProtocol::exec) pool_.begin_in_place(worker, result_name(task));
  send_task(run);
  run.timer = std::make_unique<uv::Timer>(loop_, [this, id = task.id] { on_deadline(id); });
  const Duration stall = run.agent->stall_timeout;
  run.timer->start(stall.count() > 0 ? std::min(stall, task.timeout) : task.timeout);
  events_.emit(
      task.id,
      TaskEvent{.kind = TaskEvent::Kind::started, .task = task, .dispatch = loop_.now() - startable_since_});
  if (monitor_ != nullptr) monitor_->task_began();
}

void Dispatcher::send_task(Run& run) {
  const Task& task = run.task;
  TaskMessage message;
  message.task_id = task.id;
  message.agent = task.agent;
  message.payload = task.payload;
  if (const std::string& file = task.payload_file.path; !file.empty()) {
    const bool own_user = !run.worker->spec().uid || is_hosted(run.agent->protocol);
    message.payload_file = payload_path(file, own_user);
  }
  message.attempt = task.attempt;
  message.priority = task.priority;
  message.deadline = task.timeout;
  message.checkpoint = task.checkpoint;
  if (run.agent->protocol == AgentProtocol::exec) {
    // Checked at submission; a reload in between may have changed the command, then the host reports the
    // empty one.
    FilledCommand command = fill_command(*run.agent, task.payload).value_or(FilledCommand{});
    message.argv = std::move(command.argv);
    message.cwd = std::move(command.cwd);
    message.input = std::move(command.input);
    message.output = output_order_of(run.agent->output, config_->ipc.max_line);
    if (run.agent->name == command_agent || message.input) message.payload.clear();
  }
  if (is_hosted(run.agent->protocol)) {
    message.result_file = result_file(task);
    message.inline_limit = {static_cast<std::int64_t>(inline_result_limit)};
    message.result_limit = config_->store.max_result;
    message.grace = run.agent->grace;
    message.idempotent = run.agent->idempotent;
  }
  run.worker->send(message);
}

}  // namespace kurultai
