#include "tests/simulation/ledger.h"

#include <algorithm>
#include <utility>

namespace kurultai::simulation {

namespace {

/// The kernel's or the supervisor's kill of a worker that went wrong at its start may take so long.
constexpr Duration bad_start_tells{20'000};

constexpr int often = 4;  // more than two higher tasks can bring about that are asked for at one moment

std::string words_of(const TaskEvent& event) {
  const Task& task = event.task;
  std::string words = " " + task.payload + " (" + task.agent + ", " + std::string(to_string(task.priority)) +
                      ", attempt " + std::to_string(task.attempt) + ", preemptions " +
                      std::to_string(task.preemptions) + ")";
  if (!task.worker_id.empty()) words += " on " + task.worker_id;
  if (!event.why.empty()) words += ": " + std::string(event.why);
  if (task.error) words += ": " + std::string(to_string(task.error->reason)) + ": " + task.error->message;
  return words;
}

std::string words_of(const WorkerEvent& event) {
  std::string words = " " + std::string(event.worker_id) + " (" + std::string(event.agent) + ")";
  if (!event.reason.empty()) words += ": " + std::string(event.reason) + ": " + std::string(event.message);
  return words;
}

}  // namespace

void Ledger::begin_step() {
  for (Fate* fate : returned_) fate->returned = false;
  returned_.clear();
}

const Fate* Ledger::find(const std::string& task_id) const {
  const auto found = fates_.find(task_id);
  return found == fates_.end() ? nullptr : &found->second;
}

TimePoint Ledger::last_bad_end(const std::string& agent) const {
  const auto found = bad_ends_.find(agent);
  return found == bad_ends_.end() ? TimePoint{} : found->second;
}

std::uint64_t Ledger::task_came(const std::string& worker, const std::string& task_id, int attempt) {
  const auto found = fates_.find(task_id);
  if (found == fates_.end()) return 0;
  Fate& fate = found->second;
  fate.run = ++runs_;
  fate.arrivals += 1;
  // The line may arrive when the supervisor has already taken the task away again.
  if (fate.worker == worker && fate.attempt != attempt) {
    findings_.violated("attempts accounted", name(fate) + " came to its agent as attempt " +
                                                 std::to_string(attempt) + " and is at attempt " +
                                                 std::to_string(fate.attempt));
  }
  if (fate.arrivals > fate.starts) {
    findings_.violated("attempts accounted",
                       name(fate) + " came to agents more often than it was told to have started");
  }
  if (!fate.idempotent && fate.arrivals > 1 && !std::exchange(fate.gave_way, false)) {
    findings_.violated("attempts accounted",
                       name(fate) + " may run once, and ran again without having given way");
  }
  return fate.run;
}

void Ledger::answered(const std::string& task_id, bool gave_way) {
  const auto found = fates_.find(task_id);
  if (found == fates_.end()) return;
  if (gave_way) {
    found->second.gave_way = true;
  } else {
    found->second.own_fault = true;
  }
}

void Ledger::went_wrong(const std::string& worker, const std::string& agent) {
  bad_starts_[agent] = loop_.schedule.now();
  wrong_workers_.insert(worker);
  for (auto& [id, fate] : fates_) {
    if (fate.is_open() && fate.worker == worker) fate.own_fault = true;
  }
}

void Ledger::cancelled(const std::string& task_id) {
  if (const auto found = fates_.find(task_id); found != fates_.end()) found->second.cancelled = true;
}

void Ledger::on_event(const Event& event) {
  const auto* task = std::get_if<TaskEvent>(&event.body);
  const auto* worker = std::get_if<WorkerEvent>(&event.body);
  if (findings_.traces()) {
    std::string line = "  " + std::string(name_of(event));
    if (task != nullptr) line += words_of(*task);
    if (worker != nullptr) line += words_of(*worker);
    findings_.trace(task != nullptr || worker != nullptr ? line : line + " " + to_json(event));
  }
  if (task != nullptr) on_task(*task);
  if (worker != nullptr) on_worker(*worker);
  if (std::holds_alternative<TaskRejected>(event.body)) counts_.refused += 1;
}

void Ledger::on_worker(const WorkerEvent& event) {
  movements_ += 1;
  moved_at_ = loop_.schedule.now();
  if (event.kind == WorkerEvent::Kind::spawned) {
    counts_.workers += 1;
    starting_[std::string(event.worker_id)] = {std::string(event.agent), moved_at_};
  } else {
    starting_.erase(std::string(event.worker_id));
  }
  if (event.kind == WorkerEvent::Kind::exited && event.reason != "asked") {
    bad_ends_[std::string(event.agent)] = moved_at_;
  }
}

void Ledger::on_task(const TaskEvent& event) {
  if (event.kind == TaskEvent::Kind::progress) return;
  movements_ += 1;
  moved_at_ = loop_.schedule.now();
  Fate& fate = open_fate(event.task);
  if (!fate.is_open()) {
    findings_.violated("no lost task", name(fate) + " had ended, and something more happened to it");
  }
  switch (event.kind) {
    case TaskEvent::Kind::queued:
      queued(fate, event);
      break;
    case TaskEvent::Kind::started:
      started(fate, event.task);
      break;
    case TaskEvent::Kind::preempted:
      sent_back(fate, event);
      break;
    case TaskEvent::Kind::suspended:
      stopped(fate);
      break;
    case TaskEvent::Kind::resumed:
      went_on(fate);
      break;
    case TaskEvent::Kind::progress:
      break;
    case TaskEvent::Kind::completed:
    case TaskEvent::Kind::failed:
    case TaskEvent::Kind::cancelled:
    case TaskEvent::Kind::evicted:
      ended(fate, event);
      break;
  }
  check_attempts(fate, event.task);
}

Fate& Ledger::open_fate(const Task& task) {
  const auto [at, is_new] = fates_.try_emplace(task.id);
  Fate& fate = at->second;
  if (!is_new) return fate;
  const AgentConfig& agent = config_->agents.at(task.agent);
  fate = Fate{.number = std::stoull(task.payload),
              .id = task.id,
              .agent = task.agent,
              .priority = task.priority,
              .retries = task.retries,
              .timeout = task.timeout,
              .idempotent = agent.idempotent,
              .max_preemptions = agent.max_preemptions};
  open_ += 1;
  counts_.submitted += 1;
  return fate;
}

void Ledger::queued(Fate& fate, const TaskEvent& event) {
  if (event.why.empty()) return;  // a new one
  counts_.retried += 1;
  if (!has_own_fault(fate)) {
    findings_.violated("attempts accounted", name(fate) + " lost an attempt through no fault of its own");
  }
  fate.attempt += 1;
  fate.state = TaskState::queued;
  fate.worker.clear();
  fate.returned = true;
  returned_.push_back(&fate);
}

/// Its agent said so or went wrong, it ran out of time, or a worker of its agent did not come about.
bool Ledger::has_own_fault(const Fate& fate) const {
  const TimePoint now = loop_.schedule.now();
  if (fate.own_fault) return true;
  if (!fate.worker.empty()) {
    const Duration stall = config_->agents.at(fate.agent).stall_timeout;
    const Duration least = stall.count() > 0 ? std::min(stall, fate.timeout) : fate.timeout;
    return time_of(fate) >= least;
  }
  const auto found = bad_starts_.find(fate.agent);
  if (found != bad_starts_.end() && now - found->second < bad_start_tells) return true;
  const Duration patience = config_->agents.at(fate.agent).start_timeout;
  return std::ranges::any_of(starting_, [&](const auto& entry) {
    return entry.second.agent == fate.agent && now - entry.second.since >= patience;
  });
}

void Ledger::started(Fate& fate, const Task& task) {
  counts_.starts += 1;
  fate.state = TaskState::running;
  fate.starts += 1;
  fate.worker = task.worker_id;
  fate.since = loop_.schedule.now();
  fate.own_fault = wrong_workers_.contains(fate.worker);
}

void Ledger::sent_back(Fate& fate, const TaskEvent& event) {
  (event.why == "kill" ? counts_.killed : counts_.preempted) += 1;
  fate.preemptions += 1;
  if (std::exchange(fate.sent_back_at, loop_.schedule.now()) != loop_.schedule.now())
    fate.sent_back_at_once = 0;
  if (++fate.sent_back_at_once >= often) {
    findings_.violated("no livelock", name(fate) + " was sent back again and again at one moment");
  }
  fate.state = TaskState::queued;
  fate.worker.clear();
  fate.returned = true;
  returned_.push_back(&fate);
}

void Ledger::stopped(Fate& fate) {
  if (fate.state != TaskState::running) {
    findings_.violated("suspension", name(fate) + " was suspended, and does not run");
  }
  fate.state = TaskState::suspended;
  fate.stands_since = loop_.schedule.now();
}

void Ledger::went_on(Fate& fate) {
  counts_.resumed += 1;
  if (fate.state != TaskState::suspended) {
    findings_.violated("suspension", name(fate) + " was resumed, and did not stand still");
  }
  fate.state = TaskState::running;
  fate.since += loop_.schedule.now() - fate.stands_since;
}

// While it stands still its time does not run. One that may run once can go on untold: woken to be preempted,
// it need not give way.
TimePoint::duration Ledger::time_of(const Fate& fate) const {
  const bool stands = fate.state == TaskState::suspended && fate.idempotent;
  return (stands ? fate.stands_since : loop_.schedule.now()) - fate.since;
}

void Ledger::check_time(const Fate& fate, const Task& task) {
  if (!task.error) return;
  const TimePoint::duration ran = time_of(fate);
  const Duration stall = config_->agents.at(fate.agent).stall_timeout;
  const bool early = (task.error->reason == FailReason::timeout && ran < fate.timeout) ||
                     (task.error->reason == FailReason::stalled && ran < stall);
  if (early) findings_.violated("suspension", name(fate) + " ran out of time too early");
}

void Ledger::ended(Fate& fate, const TaskEvent& event) {
  const Task& task = event.task;
  if (fate.is_open()) open_ -= 1;
  check_time(fate, task);
  if (fate.cancelled && task.state != TaskState::cancelled) {
    findings_.violated("no lost task", name(fate) + " was cancelled, and came to another end");
  }
  fate.state = task.state;
  fate.worker.clear();
  switch (task.state) {
    case TaskState::completed:
      counts_.completed += 1;
      if (config_->agents.at(fate.agent).protocol == AgentProtocol::exec) counts_.commands += 1;
      if (task.result.inline_json != std::to_string(fate.run)) {
        findings_.violated("attempts accounted", name(fate) + " completed with the answer of run " +
                                                     task.result.inline_json + ", its last was run " +
                                                     std::to_string(fate.run));
      }
      break;
    case TaskState::cancelled:
      counts_.cancelled += 1;
      if (!fate.cancelled) findings_.violated("no lost task", name(fate) + " was cancelled by nobody");
      break;
    case TaskState::evicted:
      counts_.evicted += 1;
      if (fate.priority != Priority::heartbeat || fate.starts > 0) {
        findings_.violated("no lost task", name(fate) + " was evicted, and is no waiting heartbeat");
      }
      break;
    default:
      counts_.failed += 1;
      break;
  }
}

void Ledger::check_attempts(const Fate& fate, const Task& task) {
  if (task.attempt != fate.attempt || task.preemptions != fate.preemptions) {
    findings_.violated("attempts accounted",
                       name(fate) + " is at attempt " + std::to_string(task.attempt) + " with " +
                           std::to_string(task.preemptions) + " preemptions; told of were attempt " +
                           std::to_string(fate.attempt) + " with " + std::to_string(fate.preemptions));
  }
  if (fate.attempt > fate.retries + 1 || fate.preemptions > fate.max_preemptions) {
    findings_.violated("attempts accounted", name(fate) + " was tried more often than it may be");
  }
  if (fate.starts > fate.attempt + fate.preemptions) {
    findings_.violated("attempts accounted", name(fate) + " was started more often than it was sent back");
  }
}

}  // namespace kurultai::simulation
