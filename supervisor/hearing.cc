// The dispatcher: what workers say, and what becomes of them.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "protocol/json_text.h"
#include "protocol/utf8.h"
#include "supervisor/dispatcher.h"

namespace kurultai {

namespace {

constexpr std::size_t spool_high = 4 * 1024 * 1024;
constexpr std::size_t spool_low = 1024 * 1024;

Ending ending_of(FailReason reason) {
  switch (reason) {
    case FailReason::exit_code:
      return Ending::exit_code;
    case FailReason::signal:
      return Ending::signal;
    case FailReason::spawn_failed:
      return Ending::spawn_failed;
    case FailReason::protocol_error:
      return Ending::protocol_error;
    default:
      return Ending::agent_failed;
  }
}

}  // namespace

Dispatcher::Run* Dispatcher::find_run(Worker& worker, const std::string& task_id) {
  const auto found = runs_.find(task_id);
  if (found == runs_.end()) return nullptr;
  Run& run = found->second;
  return run.worker == &worker && run.sent ? &run : nullptr;
}

/// One that works is left to do so, and takes nothing more.
void Dispatcher::on_unhealthy(Worker& worker) {
  worker.retire();
  end_if_retired(worker);
}

WorkerHealth Dispatcher::health_of(const Worker& worker) const {
  const WorkerHealth* known = checking_.health_of(worker);
  WorkerHealth health = known == nullptr ? WorkerHealth() : *known;
  const Duration stall = worker.agent().stall_timeout;
  if (stall.count() == 0 || health.status == HealthStatus::unhealthy) return health;
  const TimePoint now = loop_.now();
  const Run* oldest = nullptr;
  for (const std::string& task_id : worker.tasks()) {
    const Run& run = runs_.at(task_id);
    if (!run.sent || run.finishing) continue;
    if (oldest == nullptr || run.last_progress < oldest->last_progress) oldest = &run;
  }
  if (oldest == nullptr) return health;
  return health_by_progress(oldest->task.run_since, oldest->last_progress, stall, now);
}

void Dispatcher::worker_ready(Worker& worker) {
  events_.emit(worker.id(),
               WorkerEvent{WorkerEvent::Kind::ready, worker.id(), worker.agent().name, worker.pid()});
  const auto tasks = worker.tasks();
  startable_since_ = loop_.now();
  if (const auto agent = agent_of(worker.agent().name)) checking_.watch(worker, agent->health);
  for (const std::string& task_id : tasks) begin(runs_.at(task_id));
  end_if_retired(worker);
  pump();  // further slots
  housekeeping();
}

void Dispatcher::worker_said(Worker& worker, FromAgent message) {
  std::visit(
      [&](auto& said) {
        using Said = std::remove_cvref_t<decltype(said)>;
        if constexpr (std::is_same_v<Said, Complete> || std::is_same_v<Said, Failed> ||
                      std::is_same_v<Said, Progress> || std::is_same_v<Said, Chunk> ||
                      std::is_same_v<Said, Checkpoint> || std::is_same_v<Said, Preempted>) {
          Run* run = find_run(worker, said.task_id);
          // An answer for a task that this worker does not have (any more) counts for nothing.
          if (run == nullptr || run->finishing) {
            worker.unknown_messages += 1;
          } else {
            if constexpr (std::is_same_v<Said, Complete> || std::is_same_v<Said, Failed> ||
                          std::is_same_v<Said, Chunk>)
              worker.answered();
            on_message(*run, std::move(said));
          }
        } else if constexpr (std::is_same_v<Said, Log>) {
          worker_logged(worker, "[" + said.level + "] " + said.message + "\n", false);
        } else if constexpr (std::is_same_v<Said, Metric>) {
          if (agents_.contains(worker.agent().name)) agent_metrics_.note(worker.agent().name, said);
        } else if constexpr (std::is_same_v<Said, BreakerRequest>) {
          on_breaker(worker, said);
        } else if constexpr (std::is_same_v<Said, Pong>) {
          if (!checking_.heard(worker, said.seq)) worker.unknown_messages += 1;
        } else if constexpr (std::is_same_v<Said, Swept>) {
          // The exec host's word; an agent could claim anything.
          if (worker.agent().protocol != AgentProtocol::exec || find_run(worker, said.task_id) == nullptr) {
            worker.unknown_messages += 1;
          } else {
            events_.emit(said.task_id, OrphanSwept{worker.id(), said.task_id, said.count});
          }
        } else if constexpr (std::is_same_v<Said, Tools>) {
          if (worker.agent().protocol == AgentProtocol::mcp) {
            tools_[worker.agent().name] = std::move(said.tools);
          } else {
            worker.unknown_messages += 1;
          }
        }
      },
      message);
}

void Dispatcher::on_message(Run& run, Progress message) {
  // The SDKs repeat the last progress to show that the process lives; only a change shows that the work goes
  // on.
  if (run.task.progress != message.percent || run.task.message != message.message)
    run.last_progress = loop_.now();
  run.task.progress = message.percent;
  run.task.message = std::move(message.message);
  if (tells_progress(run)) events_.emit(run.task.id, TaskEvent{TaskEvent::Kind::progress, run.task});
}

// Telling costs more than listening: an agent that talks all the time must not take the loop from all others,
// nor push everything else out of the events that are kept. A hundred at once, then one in 50 ms.
bool Dispatcher::tells_progress(Run& run) {
  static constexpr Duration pace{50};
  const TimePoint now = loop_.now();
  run.next_told = std::max(run.next_told, now - 100 * pace);
  if (run.next_told > now) return false;
  run.next_told += pace;
  return true;
}

void Dispatcher::on_message(Run& run, Checkpoint message) {
  run.last_progress = loop_.now();
  run.saved = run.last_progress;
  run.task.checkpoint = std::move(message.state);
  keep(run.task);
}

void Dispatcher::on_message(Run& run, Chunk message) {
  run.last_progress = loop_.now();
  Worker& worker = *run.worker;
  if (run.spool == nullptr) {
    run.chunks += message.data;
    if (run.chunks.size() <= inline_result_limit) return;
    run.spool = std::make_unique<SpoolFile>(loop_, result_file(run.task));
    run.spool->on_progress([&worker, spool = run.spool.get()] {
      if (spool->pending() < spool_low) worker.resume_output();
    });
    message.data = std::exchange(run.chunks, {});
  }
  run.spool->append(std::move(message.data));
  if (run.spool->size() > config_->store.max_result.count) {
    return worker.kill_for(WorkerEnd::Cause::protocol_error, "the result is larger than store.max_result (" +
                                                                 to_string(config_->store.max_result) + ")");
  }
  if (run.spool->pending() > spool_high) worker.pause_output();
}

void Dispatcher::on_message(Run& run, Preempted message) {
  if (!message.state.empty()) run.task.checkpoint = std::move(message.state);
  end_run(run, {.ending = Ending::preempted, .message = "preempted"});
}

void Dispatcher::on_message(Run& run, Complete message) {
  if (!is_hosted(run.agent->protocol)) {
    // Only our own hosts may say these: an agent could claim a file or a figure that is not its own.
    message.file_bytes = 0;
    message.peak = {};
  }
  run.task.peak = std::max(run.task.peak, message.peak);
  Outcome outcome{.ending = Ending::completed};
  const bool wants_json =
      run.agent->output.kind == OutputKind::json && run.agent->protocol == AgentProtocol::exec;
  if (wants_json && message.file_bytes > 0 &&
      message.file_bytes <= static_cast<std::int64_t>(inline_result_limit)) {
    // A short output comes in a file only when it is no text.
    outcome = {.ending = Ending::agent_failed, .message = "stdout is not JSON: it is not UTF-8"};
  } else if (wants_json && !message.result.empty()) {
    const auto printed = parse_json(message.result);
    const auto value =
        printed && printed->is_string() ? parse_json(printed->get_ref<const std::string&>()) : printed;
    if (value) {
      message.result = to_text(*value);
    } else {
      outcome = {.ending = Ending::agent_failed, .message = "stdout is not JSON: " + value.error().message};
    }
  }
  take_result(run, std::move(message.result), message.file_bytes);
  end_run(run, std::move(outcome));
}

void Dispatcher::on_message(Run& run, Failed message) {
  if (!is_hosted(run.agent->protocol)) {
    message = {.task_id = message.task_id,
               .error = message.error,
               .stack = message.stack,
               .retryable = message.retryable,
               .result = message.result};
  }
  run.task.peak = std::max(run.task.peak, message.peak);
  take_result(run, std::move(message.result), message.file_bytes);
  const Ending ending = message.reason ? ending_of(*message.reason) : Ending::agent_failed;
  end_run(run, {ending, std::move(message.error), std::move(message.stack), message.retryable,
                message.exit_code, message.signal});
}

void Dispatcher::worker_logged(Worker& worker, std::string_view text, bool noise) {
  if (noise) noise_lines_ += 1;
  for (const std::string& task_id : worker.tasks()) add_to_log(runs_.at(task_id).task, text);
}

void Dispatcher::add_to_log(Task& task, std::string_view text) {
  const std::int64_t limit = config_->store.max_log.count;
  task.log_bytes = std::min(task.log_bytes + std::ssize(text), limit);  // until it is written
  logs_.append(task.id, text, static_cast<std::size_t>(limit));
}

void Dispatcher::log_written(const std::string& task_id, std::int64_t kept) {
  Task* task = tasks_.find(task_id);
  if (task == nullptr) return;
  task->log_bytes = kept;
  if (on_log_) on_log_(*task);
}

void Dispatcher::worker_at_edge(Worker&) {
  if (governs_edges()) grants_.look();
}

void Dispatcher::worker_oom(Worker& worker) {
  if (worker.agent().on_child_oom == OnChildOom::warn) {
    for (const std::string& task_id : worker.tasks()) {
      add_to_log(runs_.at(task_id).task,
                 "[warn] the kernel killed a process of this worker for its memory cap\n");
    }
    return worker.forget_oom();  // each is said once
  }
  if (worker.hit_own_cap()) {
    return worker.kill_for(WorkerEnd::Cause::memory_cap,
                           "exceeded its " + to_string(worker.spec().memory_limit) + " cap");
  }
  worker.kill_for(WorkerEnd::Cause::memory_budget, "the kernel needed its memory");
}

void Dispatcher::worker_swept(Worker& worker, int count) {
  events_.emit(worker.id(), OrphanSwept{worker.id(), {}, count});
}

void Dispatcher::worker_ending(Worker&) {}

void Dispatcher::worker_gone(Worker& worker, const WorkerEnd& end) {
  const auto tasks = worker.tasks();
  // First of all, so that whoever starts next knows of the pause and of the room, and only after all its
  // tasks are back, so that none of them passes a higher one.
  std::erase_if(suspended_, [&](const Suspended& entry) { return entry.worker_id == worker.id(); });
  grants_.remove(worker);
  checking_.forget(worker);
  called_breakers_.give_back_all(worker.id());
  pool_.bury(worker, end, !tasks.empty());
  end_runs(tasks, end);
  events_.emit(worker.id(), WorkerEvent{WorkerEvent::Kind::exited, worker.id(), worker.agent().name,
                                        worker.pid(), to_string(end.cause), end.message, worker.peak()});
  if (is_draining()) check_drained();
  if (monitor_ != nullptr) monitor_->nudge();
  pump();
}

}  // namespace kurultai
