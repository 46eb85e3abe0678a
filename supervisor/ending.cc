// The dispatcher: how a run ends, and what becomes of its task.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "governance/memory_growth.h"
#include "protocol/json_text.h"
#include "protocol/utf8.h"
#include "supervisor/dispatcher.h"

namespace kurultai {

namespace {

/// A text is measured, and streamed, as itself and not as the JSON that stands for it.
std::string as_streamed(const JsonText& result) {
  return result.starts_with('"') ? nlohmann::json::parse(result).get<std::string>() : result;
}

std::string caps_tried(const Task& task) {
  std::string caps;
  for (const MemoryDeath& death : task.memory_deaths)
    caps += (caps.empty() ? "" : ", ") + to_string(death.cap);
  return "; quarantined after " + caps;
}

std::string stop_message(Intent intent, const Task& task, const AgentConfig& agent) {
  switch (intent) {
    case Intent::timeout:
      return "ran longer than its timeout of " + to_string(task.timeout);
    case Intent::stall:
      return "no progress for " + to_string(agent.stall_timeout) + " (stall_timeout)";
    case Intent::preempt:
    case Intent::budget:
      return "gave way to the memory budget " + std::to_string(task.preemptions + 1) + " times";
    default:
      return "";
  }
}

}  // namespace

/// Where the result is: in CHUNKs that came before, in a file that a host of ours wrote, or in the message
/// itself.
void Dispatcher::take_result(Run& run, JsonText result, std::int64_t file_bytes) {
  TaskResult& kept = run.task.result;
  kept = {};
  if (file_bytes > 0) {
    kept.file = result_file(run.task);
    kept.bytes = file_bytes;
    return;
  }
  if (run.spool == nullptr && !run.chunks.empty() && result.empty() && is_utf8(run.chunks)) {
    kept.inline_json = to_text(nlohmann::json(std::exchange(run.chunks, {})));
    return;
  }
  if (run.spool == nullptr && run.chunks.empty()) {
    if (result.size() > inline_result_limit) run.chunks = as_streamed(result);
    if (run.chunks.size() <= inline_result_limit) {
      run.chunks.clear();
      kept.inline_json = std::move(result);
      return;
    }
  }
  if (run.spool == nullptr) {
    run.spool = std::make_unique<SpoolFile>(loop_, result_file(run.task));
    run.spool->append(std::exchange(run.chunks, {}));
  }
  kept.file = run.spool->path();
  kept.bytes = run.spool->size();
}

void Dispatcher::end_run(Run& run, Outcome outcome) {
  Task& task = run.task;
  if (Worker* worker = run.worker) {
    worker->drain_stderr();
    if (run.sent && worker->saw_oom()) {
      const bool own = worker->hit_own_cap();
      if (run.agent->on_child_oom == OnChildOom::warn) {
        worker_oom(*worker);
      } else {
        worker->retire();  // it may be dying: nothing more is given to it
        outcome.ending = own ? Ending::memory_cap : Ending::worker_lost;
        if (!own && run.intent == Intent::none) run.intent = Intent::budget;
      }
    }
    if (outcome.ending == Ending::memory_cap) {
      outcome.cap = worker->spec().memory_limit;
      outcome.message = "exceeded its " + to_string(outcome.cap) + " cap";
      task.peak = std::max(task.peak, worker->spec().memory_limit);
    }
    // A command that was over before anybody looked has left nothing to be seen; its host tells its peak.
    const bool unseen = worker->memory() == run.found && worker->peak() == run.found;
    if (!controller_.slow() && !(unseen && run.agent->protocol == AgentProtocol::exec)) {
      if (const auto reading = worker->group().read()) note_reading(*worker, *reading);
    }
    task.peak = std::max(task.peak, worker->peak());
    // A command's own maximum (ru_maxrss) has pages that it shares with others and that its group was not
    // charged for.
    if (!controller_.slow()) task.peak = std::min(task.peak, worker->spec().memory_limit);
    // Of a worker that is on its way out something may run on in it: it is removed with the worker.
    if (run.agent->protocol == AgentProtocol::exec && worker->state() == Worker::State::serving)
      pool_.end_in_place(*worker, result_name(task));
    worker->resume_output();
    worker->free_slot(task.id, loop_.now());
    if (worker->tasks().empty()) {
      resume(*worker);  // its answer was on its way when it was stopped
      grants_.forget(*worker);
    }
    if (worker->state() == Worker::State::serving) pool_.served(run.agent->name);
  }
  if (run.sent) task.ran = std::chrono::duration_cast<Duration>(loop_.now() - task.run_since);
  Worker* worker = std::exchange(run.worker, nullptr);
  run.finishing = true;
  run.timer.reset();
  // It was preempted for its memory, which a warm worker keeps: only its end gives it back. A second run
  // beside what the first still holds would go over the cap.
  if (worker != nullptr && run.intent == Intent::preempt) worker->retire();
  if (worker != nullptr) end_if_retired(*worker);  // before the next task could be given to it
  // What is large is brought to disk here, and does not keep the journal from others.
  const auto concludes = [this, guard = std::weak_ptr(alive_), id = task.id,
                          outcome](const Result<void>& written) {
    if (guard.expired()) return;
    Outcome ended = outcome;
    if (!written) tasks_.find(id)->result = {};
    if (!written && ended.ending == Ending::completed) {
      ended = {.ending = Ending::agent_failed,
               .message = "the result could not be kept: " + written.error().message};
    }
    conclude(id, ended);
    pump();  // it may run again
  };
  if (run.spool != nullptr) {
    run.spool->on_progress(nullptr);  // it resumes a worker that may be gone before the file is written
    run.spool->finish(task.durable ? SpoolFile::Until::synced : SpoolFile::Until::written, concludes);
  } else if (task.durable && !task.result.file.empty()) {
    sync_file(loop_, task.result.file, concludes);
  } else {
    conclude(task.id, outcome);
  }
  housekeeping();
  pump();
}

RunPolicy Dispatcher::policy_of(const Run& run, const Outcome& outcome) const {
  const Task& task = run.task;
  RunPolicy policy;
  policy.idempotent = run.agent->idempotent || !run.sent;
  policy.retryable = outcome.retryable;
  policy.attempt = task.attempt - static_cast<int>(task.memory_deaths.size());  // those have their own budget
  policy.retries = task.retries;
  policy.preemptions = task.preemptions;
  policy.max_preemptions = run.agent->max_preemptions;
  policy.cap_grows = run.agent->memory_growth > 1;
  policy.has_larger_cap = larger_cap(run, outcome).has_value();
  return policy;
}

std::optional<Bytes> Dispatcher::larger_cap(const Run& run, const Outcome& outcome) const {
  if (outcome.ending != Ending::memory_cap) return std::nullopt;
  const MemoryGrowth growth{run.agent->memory_growth, run.agent->max_memory_deaths, largest_cap()};
  return grown_cap(outcome.cap, static_cast<int>(run.task.memory_deaths.size()) + 1, growth);
}

void Dispatcher::note_memory_death(Task& task, const Outcome& outcome) {
  task.memory_deaths.push_back({outcome.cap, task.peak, task.ran, loop_.wall_now()});
}

void Dispatcher::conclude(const std::string& task_id, const Outcome& outcome) {
  auto ended = runs_.extract(task_id);
  Run& run = ended.mapped();
  Task& task = run.task;
  const Verdict verdict = judge(run.intent, outcome.ending, policy_of(run, outcome));
  tell_breaker(task, verdict, !outcome.retryable);
  if (run.sent && verdict.kind != Verdict::Kind::send_back)
    service_time_.finished(std::chrono::duration_cast<Duration>(loop_.now() - run.taken), loop_.now());
  const bool has_result = verdict.kind == Verdict::Kind::complete || verdict.kind == Verdict::Kind::fail ||
                          verdict.kind == Verdict::Kind::quarantine;
  if (!has_result) task.result = {};
  // Pieces that came before the end was something else, or that a host left when it was killed.
  const bool host_died = outcome.ending == Ending::worker_lost || outcome.ending == Ending::memory_cap;
  if (task.result.file.empty() && run.sent && (!has_result || run.spool != nullptr || host_died)) {
    remove_file(loop_, result_file(task));
  }
  switch (verdict.kind) {
    case Verdict::Kind::complete:
      return finish(task, TaskState::completed, {});
    case Verdict::Kind::cancel:
      return finish(task, TaskState::cancelled,
                    TaskError{FailReason::cancelled, run.stop.why.empty() ? "cancelled" : run.stop.why});
    case Verdict::Kind::send_back:
      task.preemptions += 1;
      task.not_before = loop_.now() + pause_after_preemption(task.preemptions);
      return send_back(run, TaskEvent::Kind::preempted,
                       run.stop.why.empty() ? to_string(verdict.reason) : std::string_view(run.stop.why));
    case Verdict::Kind::retry:
      leave_run(task);  // with its own number
      task.attempt += 1;
      return send_back(run, TaskEvent::Kind::queued, to_string(verdict.reason));
    case Verdict::Kind::retry_larger:
      leave_run(task);
      task.grown_limit = larger_cap(run, outcome);
      note_memory_death(task, outcome);
      task.attempt += 1;
      return send_back(run, TaskEvent::Kind::queued, to_string(verdict.reason));
    case Verdict::Kind::quarantine:
      note_memory_death(task, outcome);
      break;
    case Verdict::Kind::fail:
      break;
  }
  if (verdict.reason == FailReason::memory_budget) note_reaction(run);
  std::string message = stop_message(run.intent, task, *run.agent);
  if (message.empty() || verdict.reason == FailReason::memory_cap) message = outcome.message;
  const bool quarantined = verdict.kind == Verdict::Kind::quarantine;
  if (quarantined) message += caps_tried(task);
  finish(task, TaskState::failed,
         TaskError{verdict.reason, std::move(message), outcome.stack, outcome.exit_code, outcome.signal,
                   quarantined},
         verdict.reason == FailReason::memory_budget ? &run.stop : nullptr);
}

void Dispatcher::send_back(Run& run, TaskEvent::Kind kind, std::string_view why) {
  note_reaction(run);
  Task& task = run.task;
  enter(task, TaskState::queued, loop_.wall_now(), why);
  task.worker_id.clear();
  task.progress.reset();
  task.message.clear();
  task.queued_since = loop_.now();
  queue_.push_returned(queued(task));
  record_returned(task, why);
  keep(task);
  tell_of_stop(run.stop, TaskEvent{kind, task, kind == TaskEvent::Kind::queued ? "retry" : why});
  if (is_draining()) check_drained();
}

void Dispatcher::note_reaction(Run& run) {
  if (run.stop.correlation_id.empty()) return;
  run.stop.reaction = std::chrono::duration_cast<Duration>(loop_.now() - run.stop.decided);
  auto& receipts = run.task.receipts;
  if (!receipts.empty() && receipts.back().id == run.stop.correlation_id)
    receipts.back().reaction = run.stop.reaction;
  if (run.stop.why == "preempt") time_to_act_.note(run.stop.reaction, run.agent->grace);
  if (run.stop.why == "kill") time_to_act_.note(run.stop.reaction, Duration(0));
}

void Dispatcher::tell_of_stop(const Stop& stop, TaskEvent event) {
  event.reaction = stop.reaction;
  event.chosen_by = stop.chosen_by;
  events_.emit(stop.correlation_id.empty() ? event.task.id : stop.correlation_id, event);
}

void Dispatcher::count_outcome(const Task& task) {
  AgentFigures& figures = figures_[task.agent];
  if (task.state == TaskState::completed) figures.completed += 1;
  if (task.state == TaskState::cancelled) figures.cancelled += 1;
  if (task.state == TaskState::evicted) figures.evicted += 1;
  if (task.state != TaskState::failed) return;
  figures.failed += 1;
  if (task.error) figures.failures[task.error->reason] += 1;
}

void Dispatcher::end_runs(const std::vector<std::string>& tasks, const WorkerEnd& end) {
  const Hold hold(pumping_);
  for (const std::string& task_id : tasks) {
    Run& run = runs_.at(task_id);
    Outcome outcome{.ending = Ending::worker_lost,
                    .message = end.message,
                    .exit_code = end.exit_code,
                    .signal = end.signal};
    switch (end.cause) {
      case WorkerEnd::Cause::memory_cap:
        outcome.ending = Ending::memory_cap;
        break;
      case WorkerEnd::Cause::memory_budget:
        if (run.intent == Intent::none) run.intent = Intent::budget;
        if (run.stop.why.empty()) run.stop.why = "kernel";
        break;
      case WorkerEnd::Cause::group_lost:  // none of the task's doing
        if (run.intent == Intent::none) run.intent = Intent::bystander;
        if (run.stop.why.empty()) run.stop.why = "group_lost";
        break;
      case WorkerEnd::Cause::protocol_error:
        outcome.ending = Ending::protocol_error;
        break;
      case WorkerEnd::Cause::start_failed:
        outcome.ending = Ending::spawn_failed;
        // It was started for the first; the others only meant to share it.
        if (task_id != tasks.front() && run.intent == Intent::none) run.intent = Intent::bystander;
        break;
      case WorkerEnd::Cause::asked:
      case WorkerEnd::Cause::unhealthy:
        break;
      case WorkerEnd::Cause::exited:
        if (run.agent->protocol != AgentProtocol::exec) {
          outcome.ending = end.signal ? Ending::signal : Ending::exit_code;
        }
        break;
    }
    end_run(run, std::move(outcome));
  }
}

}  // namespace kurultai
