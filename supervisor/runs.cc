// The dispatcher's side of the workers: one attempt of a task from TASK to its end.
#include <nlohmann/json.hpp>

#include <string.h>

#include <algorithm>

#include "governance/memory_growth.h"
#include "protocol/json_text.h"
#include "protocol/output_order.h"
#include "protocol/utf8.h"
#include "supervisor/dispatcher.h"
#include "supervisor/workers/fill_command.h"
#include "supervisor/workers/launch.h"

namespace kurultai {

namespace {

constexpr Duration term_to_kill{1000};  // between SIGTERM and SIGKILL of a worker's tree
constexpr Duration host_margin{1000};   // the exec host stops its command itself; this much later we do
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

/// A text is measured, and streamed, as itself and not as the JSON that stands for it.
std::string as_streamed(const JsonText& result) {
  return result.starts_with('"') ? nlohmann::json::parse(result).get<std::string>() : result;
}

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

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

Dispatcher::Run* Dispatcher::find_run(Worker& worker, const std::string& task_id) {
  const auto found = runs_.find(task_id);
  if (found == runs_.end()) return nullptr;
  Run& run = found->second;
  return run.worker == &worker && run.sent ? &run : nullptr;
}

std::string Dispatcher::result_file(const Task& task) const {
  return spool_directory_ + "/" + task.id + "-" + std::to_string(task.attempt) + "-" +
         std::to_string(task.preemptions);
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
  if (run.agent->protocol == AgentProtocol::exec) pool_.begin_in_place(worker, file_name(result_file(task)));
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

void Dispatcher::on_deadline(const std::string& task_id) {
  Run& run = runs_.at(task_id);
  if (run.intent != Intent::none) return next_stop_step(run);
  const TimePoint now = loop_.now();
  const TimePoint deadline = run.task.run_since + run.task.timeout;
  const Duration stall = run.agent->stall_timeout;
  const TimePoint stalled = stall.count() > 0 ? run.last_progress + stall : TimePoint::max();
  if (now >= deadline) return stop_run(run, Intent::timeout, "timeout");
  if (now >= stalled) return stop_run(run, Intent::stall, "stalled");
  run.timer->start(std::chrono::ceil<Duration>(std::min(deadline, stalled) - now));
}

void Dispatcher::stop_run(Run& run, Intent intent, std::string why) {
  // A cancellation that was accepted holds: it overrides what is under way (the steps go on), and an answer
  // that is only being written down. Nothing overrides a cancellation.
  const bool stopping = run.finishing || run.intent != Intent::none;
  if (stopping && intent != Intent::cancel) return;
  run.intent = intent;
  run.stop.why = std::move(why);
  if (stopping) return;
  if (!run.sent) {  // its worker is still starting, or its start being written down: the worker stays
    return end_run(run, {.ending = Ending::worker_lost, .message = run.stop.why});
  }
  resume(*run.worker);  // or it could not hear
  const Duration grace = run.agent->grace;
  if (intent == Intent::preempt) {
    run.worker->retire();  // or a free slot would get another task, and its memory would not come back
    run.worker->send(Preempt{run.task.id, grace});
  } else {
    run.worker->send(Cancel{run.task.id, run.stop.why});
  }
  const bool hosted = run.agent->protocol == AgentProtocol::exec;
  run.timer->start(hosted ? grace + host_margin : grace);
  run.back_by = loop_.now() + grace + host_margin + term_to_kill + settle;
}

void Dispatcher::next_stop_step(Run& run) {
  if (run.intent == Intent::preempt && !run.agent->idempotent && !is_draining()) {
    // Only its own PREEMPTED may stop it, and that did not come: it runs on.
    run.intent = Intent::none;
    run.declined = true;
    run.back_by.reset();
    run.stop.why.clear();
    run.stop.correlation_id.clear();
    run.stop.chosen_by.clear();
    return on_deadline(run.task.id);
  }
  Worker& worker = *run.worker;
  for (const std::string& other : worker.tasks()) {
    Run& bystander = runs_.at(other);
    if (bystander.intent == Intent::none) bystander.intent = Intent::bystander;
  }
  // The exec host has sent SIGTERM and waited for the grace itself.
  if (run.agent->protocol == AgentProtocol::exec) return worker.kill();
  worker.terminate(term_to_kill);
}

void Dispatcher::end_if_retired(Worker& worker) {
  if (!worker.is_retiring() || !worker.tasks().empty()) return;
  const Duration grace = worker.agent().grace;
  if (worker.state() == Worker::State::serving) {
    const WorkerHealth* health = checking_.health_of(worker);
    if (health == nullptr || health->status != HealthStatus::unhealthy) return worker.end(grace);
    return worker.end_for(WorkerEnd::Cause::unhealthy, health->reason, std::min(idle_grace, grace));
  }
  // Whoever took its task away may wait for its memory, and READY may be long in coming.
  if (worker.state() == Worker::State::starting) worker.end(std::min(idle_grace, grace));
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
      pool_.end_in_place(*worker, file_name(result_file(task)));
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
