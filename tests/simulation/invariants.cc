#include "tests/simulation/invariants.h"

#include <algorithm>

namespace kurultai::simulation {

namespace {

constexpr std::uint64_t most_steps_at_once = 5000;
constexpr std::uint64_t look_at_all_tasks = 64;  // one step in so many: it costs more than most steps
constexpr Duration soon{5000};                   // a task that could start does so within that
constexpr Duration nothing_moves{150'000};       // longer than any timeout, start and pause together
constexpr Duration group_pause{1000};
constexpr Duration death_takes{20'000};
constexpr Duration restart_pause{60'000};
constexpr Duration kill_settles{2000};
constexpr Duration takes_too_long{20'000};
constexpr Duration preempt_settles{4000};  // after the grace

}  // namespace

void Invariants::after_step() {
  steps_ += 1;
  no_livelock();
  somebody_gives_way();
  budget_held();
  standstill_.after_step();
  const bool moved = movements_ != at_.ledger.movements();
  const std::size_t waiting = at_.dispatcher.queue().depth() + at_.dispatcher.queue().returned();
  if (moved || waiting != waiting_count_) {
    depth();
    priority();
  }
  movements_ = at_.ledger.movements();
  waiting_count_ = waiting;
  if (steps_ % look_at_all_tasks == 0) no_lost_task();
}

void Invariants::depth() {
  const TaskQueue& queue = at_.dispatcher.queue();
  const std::size_t limit = queue.limits().max_depth;
  const auto depth = static_cast<std::int64_t>(queue.depth());
  if (limit != max_depth_) depth_.set(static_cast<std::int64_t>(max_depth_ = limit), depth);
  if (!depth_.holds(depth)) {
    findings_.violated("depth", std::to_string(depth) + " tasks wait, the limit is " + std::to_string(limit));
  }
}

// A task that started is compared with all that wait in front of it, before and after.
void Invariants::priority() {
  std::vector<const Fate*> now;
  at_.dispatcher.queue().find_first([&](const QueuedTask& waiting) {
    if (const Fate* fate = at_.ledger.find(waiting.task_id)) now.push_back(fate);  // else not accepted yet
    return false;
  });
  check_passed(waiting_, now);
  check_returned(now);
  waiting_ = std::move(now);
}

void Invariants::check_passed(const std::vector<const Fate*>& before, const std::vector<const Fate*>& now) {
  const auto waits = [&](const Fate* fate) { return std::ranges::find(now, fate) != now.end(); };
  for (std::size_t i = 0; i < before.size(); ++i) {
    const Fate* started = before[i];
    if (!started->is_open() || waits(started) || is_ending(*started)) continue;
    if (standstill_.outranks(started->priority)) {
      findings_.violated(
          "priority",
          name(started->id) + " was given a worker while one stands still that is " + "no less important");
    }
    not_in_vain(*started, now);
    not_under_pressure(*started);
    for (std::size_t ahead = 0; ahead < i; ++ahead) {
      const Fate* passed = before[ahead];
      if (!passed->is_open() || !waits(passed) || passed->returned || may_be_passed(*passed, *started))
        continue;
      findings_.violated("priority", name(started->id) + " was given a worker before " + name(passed->id) +
                                         ", which waited in front of it");
    }
  }
}

/// It has left the queue, and its end is being written down.
bool Invariants::is_ending(const Fate& fate) const {
  const Task* task = at_.dispatcher.tasks().find(fate.id);
  return task != nullptr && task->ends_as.has_value();
}

// Above the lines only what is worth it is added, or the first of all.
void Invariants::not_under_pressure(const Fate& started) {
  if (!at_.dispatcher.config().flags.memory_governance) return;
  const Pressure& pressure = at_.dispatcher.governor().pressure();
  std::size_t tasks = 0;
  for (const auto& worker : at_.dispatcher.pool().workers()) tasks += worker->tasks().size();
  const bool heartbeat =
      started.priority == Priority::heartbeat && pressure.is_over(Threshold::skip_heartbeats);
  const bool another =
      started.priority != Priority::critical && pressure.is_over(Threshold::preempt) && tasks > 1;
  if (!heartbeat && !another) return;
  findings_.violated("priority", name(started.id) + " was given a worker though memory is short");
}

void Invariants::spawned() {
  const std::size_t count = at_.dispatcher.pool().workers().size();
  const int most = at_.dispatcher.worker_limit();
  if (count <= static_cast<std::size_t>(most)) return;
  findings_.violated(
      "workers", std::to_string(count) + " were started, at most " + std::to_string(most) + " may be there");
}

// One that came back and was given a worker at once is compared with all that wait now: who comes back with
// it is there before anybody starts.
void Invariants::check_returned(const std::vector<const Fate*>& now) {
  for (const Fate* again : at_.ledger.returned()) {
    if (!again->is_open() || std::ranges::find(now, again) != now.end() || is_ending(*again)) continue;
    for (const Fate* passed : now) {
      if (passed->priority >= again->priority || may_be_passed(*passed, *again)) continue;
      findings_.violated("priority", name(again->id) + " came back and was given a worker before " +
                                         name(passed->id) + ", which is more important");
    }
  }
}

void Invariants::sent_back(const Task& task) {
  sacrificed_.erase(task.id);
  if (task.receipts.empty() || !task.receipts.back().receipt->room) return;
  const Receipt& receipt = *task.receipts.back().receipt;
  if (!receipt.room->worker.empty()) return;  // it may be gone by then, and a new one has to pause
  sacrificed_[task.id] = {receipt.room->task_id, receipt.now};
}

// Who gave way so that another could start does not start before that one, unless its agent failed meanwhile.
void Invariants::not_in_vain(const Fate& started, const std::vector<const Fate*>& now) {
  const auto sacrifice = sacrificed_.extract(started.id);
  if (sacrifice.empty()) return;
  const Fate* other = at_.ledger.find(sacrifice.mapped().for_task);
  const TimePoint decided = sacrifice.mapped().decided;
  if (other == nullptr || other->sent_back_at > decided || keeps_failing(other->agent) ||
      at_.ledger.last_bad_end(other->agent) >= decided)
    return;
  if (std::ranges::find(now, other) == now.end()) return;
  findings_.violated("priority", name(started.id) + " gave way for " + name(other->id) +
                                     ", and was given a worker while that still waits");
}

/// Whether its circuit is not closed: its tasks are held back, but for one.
bool Invariants::keeps_failing(const std::string& agent) const {
  const auto& breakers = at_.dispatcher.breakers();
  const auto found = breakers.find(agent);
  return at_.dispatcher.config().flags.circuit_breakers && found != breakers.end() &&
         found->second.state() != BreakerState::closed;
}

/// What the dispatcher does not promise: a task waits alone while it pauses after a preemption and while
/// its agent or the workers of that keep failing, and with backfill others of its level may go first, so many
/// times.
bool Invariants::may_be_passed(const Fate& waiting, const Fate& started) const {
  const Config& config = at_.dispatcher.config();
  const TimePoint now = at_.loop.schedule.now();
  const Task* task = at_.dispatcher.tasks().find(waiting.id);
  if (task != nullptr && task->not_before > now) return true;
  if (keeps_failing(waiting.agent)) return true;
  if (config.overtaking.backfill && waiting.priority == started.priority) {
    return task != nullptr && task->passes <= config.overtaking.max_passes;
  }
  const Duration pause = config.workers.max_restarts_per_hour > 1000 ? restart_pause : std::chrono::hours(1);
  return now - at_.ledger.last_bad_end(waiting.agent) < pause;
}

// Every open task is in exactly one place, and is shown as what it is.
void Invariants::no_lost_task() {
  std::map<std::string, int> places;
  at_.dispatcher.queue().find_first([&](const QueuedTask& waiting) {
    if (at_.ledger.find(waiting.task_id) != nullptr) places[waiting.task_id] += 1;
    return false;
  });
  for (const auto& worker : at_.dispatcher.pool().workers()) {
    for (const std::string& id : worker->tasks()) places[id] += 1;
  }
  for (const auto& [id, count] : places) {
    if (count != 1)
      findings_.violated("no lost task", name(id) + " is in " + std::to_string(count) + " places");
  }
  for (const auto& [id, fate] : at_.ledger.fates()) {
    if (!fate.is_open()) continue;
    const Task* task = at_.dispatcher.tasks().find(id);
    if (task == nullptr) {
      findings_.violated("no lost task", name(id) + " is no longer known");
    } else if (task->ends_as) {  // it is being written down
      continue;
    } else if (!places.contains(id)) {
      findings_.violated("no lost task",
                         name(id) + " is " + std::string(to_string(task->state)) + " and nowhere");
    }
    nobody_late(fate);
  }
}

// Its timeout, its grace, and the time that a kill takes at most.
void Invariants::nobody_late(const Fate& fate) {
  if (fate.state != TaskState::running) return;
  const Duration grace = at_.dispatcher.config().agents.at(fate.agent).grace;
  if (at_.loop.schedule.now() - fate.since <= fate.timeout + grace + death_takes) return;
  findings_.violated("no livelock", name(fate.id) + " runs far beyond its timeout");
}

void Invariants::total_changes(Bytes total) {
  budget_.set(total.count, held().count);
  total_known_ = true;
}

/// What the workers may grow to, and what they leave behind.
Bytes Invariants::held() const {
  Bytes held = at_.kernel.stray();
  for (const auto& [name, group] : at_.kernel.groups()) {
    held += group->inside.empty() ? group->files : group->ceiling();
  }
  return held;
}

void Invariants::budget_held() {
  if (!total_known_ || !at_.kernel.has_edges() || !at_.dispatcher.config().flags.memory_governance) return;
  const Bytes now = held();
  if (!budget_.holds(now.count)) {
    findings_.violated("budget held", "workers may grow to " + to_string(now) + " in all, they have " +
                                          to_string(Bytes{budget_.limit}));
  }
  if (at_.kernel.parent_kills() > 0) {
    findings_.violated("budget held", "the limit of all workers, " + to_string(at_.kernel.workers_limit()) +
                                          ", was reached, and the kernel killed for it; handed out are " +
                                          to_string(at_.dispatcher.workers_total()) + ", charged " +
                                          to_string(at_.kernel.charged()) + ":" + groups());
  }
}

void Invariants::no_livelock() {
  const TimePoint now = at_.loop.schedule.now();
  if (at_.loop.schedule.delivered_at_once() > most_steps_at_once) {
    findings_.violated("no livelock", "the loop turns and no time passes");
  }
  if (at_.ledger.open() == 0) return;
  const bool hourly = at_.dispatcher.config().workers.max_restarts_per_hour <= 1000;
  const Duration patience = nothing_moves + (hourly ? std::chrono::hours(1) : Duration(0));
  if (now - at_.ledger.moved_at() > patience) {
    findings_.violated("no livelock",
                       std::to_string(at_.ledger.open()) + " tasks are open and nothing happens");
  }
  if (steps_ % look_at_all_tasks != 0 || at_.dispatcher.is_draining()) return;
  const Task* next = waiting_.empty() ? nullptr : at_.dispatcher.tasks().find(waiting_.front()->id);
  if (next == nullptr || !could_start(*next)) {
    could_start_.clear();
  } else if (could_start_ != next->id) {
    could_start_ = next->id;
    could_start_since_ = now;
  } else if (now - could_start_since_ > soon) {
    findings_.violated("no livelock", name(next->id) + " could start and does not");
  }
}

// Where the memory that somebody waits for is not there, it is taken from others, or from himself.
void Invariants::somebody_gives_way() {
  if (steps_ % look_at_all_tasks != 0 || !at_.dispatcher.config().flags.memory_governance) return;
  if (at_.kernel.slows()) return;  // who sleeps there may have room
  const TimePoint now = at_.loop.schedule.now();
  for (const auto& worker : at_.dispatcher.pool().workers()) {
    const auto group = at_.kernel.groups().find(worker->id());
    const bool waits = group != at_.kernel.groups().end() && group->second->waits() &&
                       !worker->agent().protect && !worker->tasks().empty() && !worker->killed();
    if (!waits) {
      waits_since_.erase(worker->id());
    } else if (now - waits_since_.try_emplace(worker->id(), now).first->second > takes_too_long) {
      findings_.violated("no livelock",
                         worker->id() + " waits at its edge, and nobody gives way:" + groups());
    }
  }
}

bool Invariants::could_start(const Task& task) const {
  const Dispatcher& dispatcher = at_.dispatcher;
  const TimePoint now = at_.loop.schedule.now();
  if (now - at_.ledger.last_bad_end(task.agent) < std::chrono::hours(1)) return false;
  if (now - at_.kernel.no_group_at() < 2 * group_pause) return false;
  if (task.not_before > now || dispatcher.held_back_for(task).count() > 0) return false;
  const bool anything_runs = dispatcher.pool().active() > 0;
  if (!dispatcher.governor().allows_start(task.priority, anything_runs)) return false;
  if (standstill_.outranks(task.priority)) return false;
  const auto views = dispatcher.pool().views();
  const Bytes limit = memory_limit_of(dispatcher.config().agents.at(task.agent), dispatcher.config());
  const auto where = place({task.agent, limit}, views, dispatcher.worker_limit());
  if (std::holds_alternative<WaitForWorker>(where) || std::holds_alternative<WaitForOwn>(where) ||
      std::holds_alternative<YieldWorker>(where))
    return false;
  if (std::holds_alternative<SpawnWorker>(where) && anything_runs) return false;  // its start needs room
  return std::holds_alternative<StartTask>(dispatcher.room_for(task));
}

void Invariants::after_reading(const MemorySnapshot& snapshot) {
  standstill_.after_reading(snapshot);
  for (const auto& receipt : decided_now()) {
    std::vector<std::string> workers;
    for (const std::string& id : receipt->chosen) workers.push_back(worker_of(id));
    if (findings_.traces()) {
      std::string line = "  decided: " + std::string(receipt->kill ? "kill" : "preempt");
      for (const std::string& id : receipt->chosen) line += " " + name(id);
      line += "; idle " + to_string(receipt->idle) + ", ending " + to_string(receipt->ending) + ", running";
      for (const Candidate& one : receipt->running) {
        line += " " + name(one.task_id) + " " + to_string(one.memory) + (one.dying ? " dying" : "");
        if (one.back_by) {
          line += " back in " + to_string(std::chrono::duration_cast<Duration>(*one.back_by - receipt->now));
        }
      }
      findings_.trace(line + (receipt->starving ? ", starving" : "") + ", used " + to_string(receipt->used) +
                      " of " + to_string(receipt->budget));
    }
    same_again(*receipt);
    well_foreseen(*receipt);
    no_second_kill(*receipt, workers);
    no_needless_kill(*receipt);
    lowest_first(*receipt);
    nobody_protected(*receipt);
    standstill_.decided(*receipt, workers);
    await(*receipt, workers);
  }
}

/// The receipts of this very moment. Whoever was chosen before he had begun is back in the queue already.
std::vector<std::shared_ptr<const Receipt>> Invariants::decided_now() {
  std::vector<std::shared_ptr<const Receipt>> fresh;
  const auto look_at = [&](const std::string& id) {
    const Task* task = at_.dispatcher.tasks().find(id);
    if (task == nullptr || task->receipts.empty()) return;
    const auto& receipt = task->receipts.back().receipt;
    if (receipt->room) return;  // admission's
    if (receipt->now == at_.loop.schedule.now() && seen_.insert(receipt->id).second) fresh.push_back(receipt);
  };
  for (const auto& worker : at_.dispatcher.pool().workers()) std::ranges::for_each(worker->tasks(), look_at);
  at_.dispatcher.queue().find_first([&](const QueuedTask& waiting) {
    look_at(waiting.task_id);
    return false;
  });
  return fresh;
}

std::string Invariants::worker_of(const std::string& task_id) const {
  for (const auto& worker : at_.dispatcher.pool().workers()) {
    if (std::ranges::find(worker->tasks(), task_id) != worker->tasks().end()) return worker->id();
  }
  return "";
}

/// What is on its way back, by earlier decisions and otherwise, and may still be waited for.
Bytes Invariants::awaited(const Receipt& receipt) {
  const TimePoint now = at_.loop.schedule.now();
  std::erase_if(awaited_, [&](const Awaited& one) {
    const auto group = at_.kernel.groups().find(one.group);
    if (now >= one.until || group == at_.kernel.groups().end()) return true;
    return one.freeze > 0 && (group->second->freezes != one.freeze || !group->second->paging);
  });
  Bytes sum = receipt.idle;
  std::set<std::string> counted;  // several tasks may share a worker
  for (const Awaited& one : awaited_) {
    if (!counted.insert(one.group).second || (!one.killed && receipt.kill)) continue;
    sum += std::min(one.memory, at_.kernel.groups().at(one.group)->charge);
  }
  for (const auto& worker : at_.dispatcher.pool().workers()) {
    if (counted.contains(worker->id()) || !is_coming_back(*worker, receipt)) continue;
    sum += std::min(worker->memory(), at_.kernel.groups().at(worker->id())->charge);
  }
  return sum;
}

/// It ends, though nobody decided that: told to, or for what its task did.
bool Invariants::is_coming_back(const Worker& worker, const Receipt& receipt) const {
  const TimePoint now = at_.loop.schedule.now();
  if (worker.state() != Worker::State::ending || worker.ending_since() == now) return false;
  if (worker.tasks().empty()) return now < worker.ending_since() + worker.agent().grace + kill_settles;
  const auto its = std::ranges::find_if(receipt.running, [&](const Candidate& one) {
    return std::ranges::find(worker.tasks(), one.task_id) != worker.tasks().end();
  });
  if (its == receipt.running.end() || (receipt.kill && !its->dying)) return false;
  return now < its->back_by.value_or(worker.ending_since() + kill_settles);
}

// What is in a receipt is all that was decided on.
void Invariants::same_again(const Receipt& receipt) {
  const Receipt again = decide_again(receipt);
  if (again.chosen == receipt.chosen && again.kill == receipt.kill &&
      again.prediction.has_value() == receipt.prediction.has_value())
    return;
  findings_.violated("same again", "receipt " + receipt.id + " is decided otherwise");
}

// Below the threshold somebody gives way only to growth that leaves him no time, and once.
void Invariants::well_foreseen(const Receipt& receipt) {
  if (!receipt.prediction) return;
  foreseen_ += 1;
  const Prediction& prediction = *receipt.prediction;
  const bool in_time = prediction.left > prediction.to_act + prediction.grace;
  const bool is_late = receipt.used >= share_of(receipt.budget, receipt.thresholds.at(Threshold::preempt));
  if (receipt.kill || in_time || is_late || prediction.growth_per_second <= Bytes{})
    findings_.violated("well foreseen", "receipt " + receipt.id + " had no reason");
  for (const std::string& id : receipt.chosen) {
    if (!left_early_.insert(id).second)
      findings_.violated("well foreseen", name(id) + " gave way to a prediction twice");
  }
}

// A deficit that earlier victims cover is not taken from others, until their memory is back or overdue.
void Invariants::no_second_kill(const Receipt& receipt, const std::vector<std::string>& workers) {
  const double line = receipt.thresholds.at(receipt.kill ? Threshold::kill : Threshold::preempt);
  Bytes need = receipt.used - share_of(receipt.budget, line - Governor::margin);
  if (receipt.starving) need = std::max(need, share_of(receipt.budget, Governor::margin));
  const Bytes coming = awaited(receipt);
  if (coming >= need && !receipt.prediction) {
    findings_.violated("no second kill", name(receipt.chosen.front()) + " was chosen for " + to_string(need) +
                                             ", while " + to_string(coming) +
                                             " of earlier victims was on its way back:" + names_of_awaited());
  }
  for (const std::string& worker : workers) {
    const bool twice =
        std::ranges::any_of(awaited_, [&](const Awaited& one) { return one.killed && one.group == worker; });
    if (twice) findings_.violated("no second kill", worker + " was killed before, and is not gone");
  }
}

// Who waits at his edge is given what there is, before anybody is killed for it.
void Invariants::no_needless_kill(const Receipt& receipt) {
  const Bytes line = share_of(receipt.budget, receipt.thresholds.at(Threshold::kill) - Governor::margin);
  if (!receipt.kill || receipt.used > line || !total_known_) return;
  // What could not be taken from some cannot be given to others.
  if (at_.loop.schedule.now() - at_.kernel.edge_refused_at() < group_pause) return;
  if (at_.kernel.lagged_at() == at_.loop.schedule.now()) return;  // it was decided on old figures
  // What those that do not grow are left with, those that start are promised, and what is too little to move.
  const Bytes total = at_.dispatcher.workers_total();
  Bytes kept = Bytes{total.count / 16} + standstill_.promised();
  const TimePoint now = at_.loop.schedule.now();
  for (const auto& worker : at_.dispatcher.pool().workers()) {
    // One that was preempted at the same moment did start when this was decided.
    const bool just_ended = worker->state() == Worker::State::ending && worker->ending_since() == now;
    kept += mebibytes(worker->state() == Worker::State::starting || just_ended ? 18 : 2);
  }
  const Bytes free = total - at_.kernel.charged() - kept;
  if (free > share_of(receipt.budget, Governor::margin)) {
    findings_.violated("no needless kill", name(receipt.chosen.front()) +
                                               " was killed for one that waits, while " + to_string(free) +
                                               " could be given to that:" + groups());
  }
}

/// What each group is charged and may grow to.
std::string Invariants::groups() const {
  std::string text;
  for (const auto& [name, group] : at_.kernel.groups()) {
    text += " " + name + " " + to_string(group->charge) + " of " + to_string(group->edge) + " of " +
            to_string(group->limits.memory) + (group->waits() ? " waits" : "");
  }
  return text;
}

std::string Invariants::names_of_awaited() const {
  std::string names;
  for (const Awaited& one : awaited_) {
    names += " " + name(one.task) + " in " + one.group + " " + to_string(one.memory) +
             (one.killed ? " killed" : " preempted");
  }
  return names;
}

void Invariants::await(const Receipt& receipt, const std::vector<std::string>& workers) {
  const TimePoint now = at_.loop.schedule.now();
  for (std::size_t i = 0; i < workers.size(); ++i) {
    const auto running = std::ranges::find(receipt.running, receipt.chosen[i], &Candidate::task_id);
    if (running == receipt.running.end() || workers[i].empty()) continue;
    const Fate* fate = at_.ledger.find(receipt.chosen[i]);
    const Duration grace = at_.dispatcher.config().agents.at(fate->agent).grace;
    // One that may run once need not give way: whether it does is known after its grace.
    const auto group = at_.kernel.groups().find(workers[i]);
    const bool suspended = !receipt.kill && running->suspendable && group != at_.kernel.groups().end();
    if (suspended && !group->second->frozen) continue;  // the kernel refused
    Duration settles =
        receipt.kill ? kill_settles : grace + (fate->idempotent ? preempt_settles : Duration(0));
    if (suspended) settles = page_out_time(running->memory);
    // A kill is waited for less long than the preemption before it.
    std::erase_if(awaited_, [&](const Awaited& one) { return one.group == workers[i]; });
    awaited_.push_back({receipt.chosen[i], workers[i], running->memory, now + settles, receipt.kill,
                        suspended ? group->second->freezes : 0});
  }
}

// Who was chosen has nobody of a lower priority beside him who could have been.
void Invariants::lowest_first(const Receipt& receipt) {
  for (const std::string& id : receipt.chosen) {
    const auto victim = std::ranges::find(receipt.running, id, &Candidate::task_id);
    for (const Candidate& other : receipt.running) {
      if (victim == receipt.running.end() || other.priority <= victim->priority) continue;
      const bool eligible = !other.is_protected && !other.dying && other.memory > Bytes{} &&
                            (receipt.kill || ((other.preemptable || other.suspendable) && !other.back_by));
      if (!eligible || std::ranges::find(receipt.chosen, other.task_id) != receipt.chosen.end()) continue;
      findings_.violated("priority", name(id) + " had to give way and not " + name(other.task_id) +
                                         ", which is less important");
    }
  }
}

void Invariants::nobody_protected(const Receipt& receipt) {
  for (const std::string& id : receipt.chosen) {
    const Fate* fate = at_.ledger.find(id);
    if (at_.dispatcher.config().agents.at(fate->agent).protect) {
      findings_.violated("protected", name(id) + " is protected and was chosen to give way");
    }
  }
}

void Invariants::preempt_came(const std::string& agent, const std::string& task_id) {
  const AgentConfig& config = at_.dispatcher.config().agents.at(agent);
  if (at_.dispatcher.is_draining() || (config.preemptable && !config.protect)) return;
  findings_.violated("protected", name(task_id) + " may not be preempted, and was");
}

std::string Invariants::name(const std::string& task_id) const {
  const Fate* fate = at_.ledger.find(task_id);
  return "task " + (fate == nullptr ? task_id : std::to_string(fate->number));
}

void Invariants::at_end(Findings& findings, const uv_loop_s& loop, const Kernel& kernel,
                        const Ledger& ledger) {
  if (!kernel.groups().empty()) findings.violated("nothing left", "a group is left");
  if (kernel.swap_used() != Bytes{}) findings.violated("nothing left", "something is left in swap");
  if (kernel.charged() != Bytes{}) findings.violated("nothing left", "memory is left");
  if (!loop.children.empty()) findings.violated("nothing left", "a child was not waited for");
  if (!loop.pipes.empty()) findings.violated("nothing left", "a pipe was never opened");
  for (const auto& [id, fate] : ledger.fates()) {
    if (fate.state != TaskState::running && fate.state != TaskState::suspended) continue;
    findings.violated("no lost task", "task " + std::to_string(fate.number) + " was left running");
  }
}

}  // namespace kurultai::simulation
