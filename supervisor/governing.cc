// The dispatcher's side of memory: readings go to the governor, its actions are carried out here.
#include <algorithm>
#include <array>

#include "protocol/overloaded.h"
#include "supervisor/dispatcher.h"
#include "supervisor/event_log.h"

namespace kurultai {

namespace {

constexpr Bytes worth_reclaiming = mebibytes(8);
constexpr Duration longest_reclaim{3000};
constexpr Duration groups_pace{1000};  // between two looks whether all groups are there
// Of a worker that ends, charges go a little later than its group.
constexpr Duration charges_linger{5000};
constexpr double much_left_behind = 0.05;  // of the budget

Bytes cache_of(const GroupReading& reading) {
  return reading.active_cache + std::max(reading.raw - reading.used, Bytes{});
}

bool is_kill(const Action& action) { return std::holds_alternative<KillTask>(action); }
bool takes_a_task(const Action& action) { return victim_of(action) != nullptr; }

/// Only who has the supervisor's rights can move himself; before READY the launcher may be on its way in.
int escaped_from(Worker& worker) {
  const bool may_move = !worker.spec().uid || *worker.spec().uid == 0;
  return may_move && worker.state() == Worker::State::serving ? worker.group().escaped() : 0;
}

}  // namespace

void Dispatcher::on_reading(const MemorySnapshot& snapshot) {
  end_lost_workers();
  note_lines(snapshot);
  if (snapshot.ratio() < governor_.pressure().thresholds().at(Threshold::kill)) at_kill_ = false;
  Bytes stray = snapshot.workers.total.used;
  for (const NamedReading& named : snapshot.workers.groups) {
    Worker* worker = pool_.find(named.name);
    if (worker == nullptr) continue;  // buried; what its group still holds is nobody's
    note_reading(*worker, named.reading);
    stray -= named.reading.used;
  }
  // The groups are read after their sum: one that grows in between makes it smaller than their own.
  stray_ = std::max(stray, Bytes{});
  grants_.set_stray(stray_);
  note_left_behind(snapshot);
  curve_.note(loop_.now(), snapshot.used);
  look_for_leaks(snapshot);
  note_growth(snapshot);
  if (grants_.starving()) grants_.look();  // what came back since may be all that was missing
  // Page cache goes before any worker, so also before the idle ones.
  if (grants_.starving()) reclaim(cache_of(snapshot.workers.total));
  auto running = candidates();
  const TimePoint now = loop_.now();
  const Situation seen = situation(snapshot, running, now);
  const Thresholds& thresholds = governor_.pressure().thresholds();
  if (snapshot.ratio() >= thresholds.at(Threshold::preempt) || may_run_out(seen, thresholds, now))
    mark_suspendable(running);
  const auto actions = governor_.decide(seen, now);
  if (std::ranges::none_of(actions, takes_a_task)) resume_next(snapshot);
  if (actions.empty()) {
    record_reading(snapshot, seen, now, actions, false);
    if (waits_for_room_) pump();  // memory may have come back
    return;
  }
  for (const Action& action : actions) {
    if (const auto* foreseen = std::get_if<Foreseen>(&action)) note_foreseen(foreseen->prediction, actions);
  }
  const bool kills = std::ranges::any_of(actions, is_kill);
  const bool was_put_off = std::exchange(kill_is_put_off_, false);
  if (!(kills && was_put_off)) decisions_ += 1;  // else it is the decision that was put off
  const bool spared = kills && kill_can_wait(snapshot);
  kill_is_put_off_ = spared;
  record_reading(snapshot, seen, now, actions, spared);
  for (const Action& action : actions) {
    if (!takes_a_task(action)) apply(action, snapshot);
  }
  if (!spared && config_->flags.memory_governance) keep_receipt(seen, now, actions);
  {
    const Hold hold(pumping_);  // who has to give way together is back before anybody starts
    for (const Action& action : actions) {
      if (takes_a_task(action) && !(spared && is_kill(action))) apply(action, snapshot);
    }
  }
  pump();
}

Situation Dispatcher::situation(const MemorySnapshot& snapshot, std::span<const Candidate> running,
                                TimePoint now) const {
  Situation situation{
      snapshot.used, snapshot.budget, running, {}, {}, grants_.starving() && !awaits_reclaim()};
  situation.lowered = now < lowered_until_;
  if (config_->memory.predict) situation.time_to_act = time_to_act_.value();
  for (const auto& worker : pool_.workers()) {
    if (!worker->tasks().empty() || worker->state() != Worker::State::ending) continue;
    if (now < worker->ending_since() + worker->agent().grace + settle) situation.ending += worker->memory();
  }
  // With governance off idle workers stay, and nothing may wait for their end.
  if (config_->flags.memory_governance && config_->memory.ladder.end_idle)
    situation.idle = pool_.idle_memory();
  return situation;
}

/// Page cache that grows can be taken back: it is no growth.
void Dispatcher::note_growth(const MemorySnapshot& snapshot) {
  if (!config_->memory.predict) return;
  const TimePoint now = loop_.now();
  for (const NamedReading& named : snapshot.workers.groups) {
    if (Worker* worker = pool_.find(named.name); worker != nullptr)
      worker->growth.note(now, std::max(named.reading.used - named.reading.active_cache, Bytes{}));
  }
}

void Dispatcher::note_foreseen(const Prediction& prediction, std::span<const Action> actions) {
  log_warning("memory grows by " + to_string(prediction.growth_per_second) +
              " a second and would be at the kill threshold in " + to_string(prediction.left) +
              ": who gives way needs " + to_string(prediction.to_act + prediction.grace));
  if (!config_->flags.memory_governance) return;
  for (const Action& action : actions) {
    const std::string* victim = victim_of(action);
    const auto run = victim != nullptr ? runs_.find(*victim) : runs_.end();
    if (run == runs_.end() || run->second.worker == nullptr) continue;
    for (const std::string& id : run->second.worker->tasks()) runs_.at(id).task.left_early = true;
  }
}

/// Without its group a worker has no cap, and what it uses is counted nowhere.
void Dispatcher::end_lost_workers() {
  const TimePoint now = loop_.now();
  if (now < groups_looked_at_ + groups_pace) return;
  groups_looked_at_ = now;
  for (const auto& worker : pool_.workers()) {
    if (worker->group().is_lost()) {
      worker->kill_for(WorkerEnd::Cause::group_lost, "its memory group was taken away");
    } else if (const int pid = escaped_from(*worker); pid > 0) {
      worker->kill_for(
          WorkerEnd::Cause::protocol_error,
          "its process " + std::to_string(pid) + " has left its memory group, where nothing caps it");
    }
  }
}

/// A budget, or a threshold, that was lowered below what is used is no emergency, as long as nobody grows
/// beyond where the line was. Whoever has to give way for it gets his grace; only who does not leave in that
/// time is killed. What others take of the machine is one: it is gone already.
void Dispatcher::note_lines(const MemorySnapshot& snapshot) {
  const Thresholds& thresholds = governor_.pressure().thresholds();
  const Bytes line = share_of(snapshot.configured, thresholds.at(Threshold::kill));
  const Bytes before = std::exchange(kill_line_, line);
  const TimePoint now = loop_.now();
  if (snapshot.used < share_of(snapshot.configured, thresholds.at(Threshold::preempt))) lowered_until_ = {};
  if (snapshot.used >= line_before_lowering_) lowered_until_ = {};
  const bool acts = config_->flags.memory_governance;
  if (acts && line < before && snapshot.used >= line && snapshot.used < before) {
    Duration grace = idle_grace;
    for (const auto& [id, run] : runs_) grace = std::max(grace, run.agent->grace);
    lowered_until_ = now + grace + 2 * settle;  // as long as a preemption takes at most
    line_before_lowering_ = before;
    log_warning("tasks have to give way: the budget is " + to_string(snapshot.configured) + " now, and " +
                to_string(snapshot.used) + " is used");
  }
}

/// Files in memory, and shared memory, stay when those who made them are gone, and stay charged.
void Dispatcher::note_left_behind(const MemorySnapshot& snapshot) {
  Bytes cache = snapshot.workers.total.active_cache;
  for (const NamedReading& named : snapshot.workers.groups) cache -= named.reading.active_cache;
  left_behind_ = stray_ - std::max(cache, Bytes{});
  if (left_behind_ < share_of(snapshot.budget, much_left_behind)) {
    left_behind_since_.reset();
  } else if (!left_behind_since_) {
    left_behind_since_ = loop_.now();
  }
}

std::string Dispatcher::trouble() const {
  if (left_behind_since_ && loop_.now() >= *left_behind_since_ + charges_linger)
    return to_string(left_behind_) + " of the budget of " + to_string(budget()) +
           " are held by what ended workers left in memory: files in /dev/shm or another tmpfs, or shared "
           "memory";
  if (loop_.now() < lowered_until_)
    return "more is used than the budget of " + to_string(budget()) +
           " allows since it was lowered; tasks give way";
  if (!no_room_.empty() && loop_.now() < room_at_ + groups_pace) return "no worker can start: " + no_room_;
  return grants_.trouble();
}

/// Of a decision that somebody has to give way: with each of them, before it is carried out. `now` is the
/// governor's own: who was to be back in the microseconds since then was still expected.
void Dispatcher::keep_receipt(const Situation& situation, TimePoint now, std::span<const Action> actions) {
  Receipt receipt = new_receipt(now);
  note_decision(receipt, actions);
  if (receipt.chosen.empty()) return;
  receipt.used = situation.used;
  receipt.budget = situation.budget;
  receipt.idle = situation.idle;
  receipt.ending = situation.ending;
  receipt.starving = situation.starving;
  receipt.lowered = situation.lowered;
  receipt.time_to_act = situation.time_to_act;
  receipt.running.assign(situation.running.begin(), situation.running.end());
  receipt.rungs = rungs_;
  for (Rung& rung : receipt.rungs) {  // a hint shows its effect only by now
    if (!rung.freed) rung.freed = std::max(rung.used - situation.used, Bytes{});
  }
  hand_out(std::move(receipt));
}

Receipt Dispatcher::new_receipt(TimePoint now) const {
  Receipt receipt;
  receipt.id = "g" + std::to_string(decisions_);
  receipt.time = loop_.wall_now();
  receipt.now = now;
  receipt.thresholds = governor_.pressure().thresholds();
  receipt.memory = curve_.points();
  return receipt;
}

/// To all whom it concerns: the tasks of a worker go together.
void Dispatcher::hand_out(Receipt receipt) {
  static constexpr std::size_t most_receipts = 3;
  const auto shared = std::make_shared<const Receipt>(std::move(receipt));
  for (const std::string& chosen : shared->chosen) {
    const auto run = runs_.find(chosen);
    if (run == runs_.end() || run->second.worker == nullptr) continue;
    for (const std::string& id : run->second.worker->tasks()) {
      auto& kept = runs_.at(id).task.receipts;
      if (kept.size() >= most_receipts) kept.erase(kept.begin());
      kept.push_back({shared->id, shared});
    }
  }
}

void Dispatcher::note_rung(const char* name, std::optional<Bytes> freed, std::optional<TimePoint> since) {
  static constexpr std::size_t most_rungs = 20;
  if (rungs_.size() >= most_rungs) rungs_.erase(rungs_.begin());
  Rung rung{name, loop_.now(), monitor_ == nullptr ? Bytes{} : monitor_->last().used, freed};
  if (since) rung.took = std::chrono::duration_cast<Duration>(loop_.now() - *since);
  rungs_.push_back(std::move(rung));
}

/// A kill is not taken back: memory may have come back since the reading, and page cache goes first. Where a
/// reading takes its time the next one is the second look: a process in vfork may be counted twice in one.
bool Dispatcher::kill_can_wait(const MemorySnapshot& snapshot) {
  if (!config_->flags.memory_governance || monitor_ == nullptr) return false;
  if (awaits_reclaim()) return true;
  if (controller_.slow()) {
    if (!std::exchange(at_kill_, true)) return true;  // the next reading decides
  } else if (!grants_.starving()) {
    const auto fresh = monitor_->read_now();
    if (fresh && fresh->ratio() < governor_.pressure().thresholds().at(Threshold::kill)) return true;
  }
  return reclaim(snapshot.workers.total.active_cache);  // the inactive does not count as used
}

/// True when page cache is being taken back, so that nothing else need be.
bool Dispatcher::reclaim(Bytes cache) {
  if (reclaiming_) return awaits_reclaim();
  if (!config_->memory.ladder.reclaim) return false;
  if (cache < worth_reclaiming || monitor_ == nullptr || loop_.now() < reclaim_again_) return false;
  reclaiming_ = true;
  reclaim_until_ = loop_.now() + longest_reclaim;
  run_on_thread(loop_, controller_.reclaim_job(cache),
                [this, cache, began = loop_.now(), alive = std::weak_ptr(alive_)] {
                  if (alive.expired()) return;
                  reclaiming_ = false;
                  const auto after = monitor_->read_now();
                  const Bytes left = after ? cache_of(after->workers.total) : cache;
                  note_rung("reclaim", std::max(cache - left, Bytes{}), began);
                  // Dirty pages, and those that somebody keeps using, do not come back by asking again.
                  if (cache - left < worth_reclaiming) reclaim_again_ = loop_.now() + settle;
                  grants_.look();
                  monitor_->nudge();
                  pump();
                });
  return true;
}

/// Room for one more worker; page cache is taken back for it.
bool Dispatcher::has_room() {
  if (!governs_edges() || grants_.make_room()) return true;
  if (monitor_ != nullptr) reclaim(cache_of(monitor_->last().workers.total));
  return false;
}

void Dispatcher::note_reading(Worker& worker, const GroupReading& reading) {
  for (const std::string& id : worker.tasks()) {
    Run& run = runs_.at(id);
    if (run.sent) run.task.peak = std::max(run.task.peak, reading.used);
  }
  if (!worker.note_reading(reading)) return;
  const WorkerSpec& spec = worker.spec();
  events_.emit(worker.id(), MemoryWarning{worker.id(), worker.agent().name, reading.used, spec.memory_warning,
                                          spec.memory_limit});
}

// One candidate a worker: memory is freed by whole workers, and one that runs several tasks counts as its
// highest.
std::vector<Candidate> Dispatcher::candidates() const {
  std::vector<Candidate> list;
  const TimePoint now = loop_.now();
  for (const auto& worker : pool_.workers()) {
    if (worker->tasks().empty()) continue;
    Candidate candidate;
    candidate.priority = Priority::heartbeat;
    candidate.memory = worker->memory();
    candidate.dying = worker->killed();
    candidate.may_leave_early = config_->memory.predict && runs_.size() > 1;
    Bytes footprint;
    bool is_known = true;  // what tasks like these use
    for (const std::string& task_id : worker->tasks()) {
      const Run& run = runs_.at(task_id);
      const double progress = run.task.progress.value_or(0) / 100;
      if (run.sent) candidate.work_lost += work_lost(run.saved, progress, {}, now);
      candidate.dying = candidate.dying || (run.spared && run.back_by && now < *run.back_by);
      if (run.back_by) candidate.back_by = std::max(candidate.back_by.value_or(*run.back_by), *run.back_by);
      candidate.is_protected = candidate.is_protected || run.agent->protect;
      is_known = is_known && run.learned;
      candidate.may_leave_early = candidate.may_leave_early && !run.task.left_early;
      if (run.footprint > Bytes{}) footprint = std::max({footprint, run.footprint, run.found});
      if (!candidate.task_id.empty() && run.task.priority >= candidate.priority) continue;
      candidate.task_id = task_id;
      candidate.priority = run.task.priority;
      // One that was let in alone would be let in again at once.
      const bool in_vain = run.let_in || (run.alone && runs_.size() == 1);
      candidate.preemptable =
          config_->memory.ladder.preempt && run.agent->preemptable && !run.declined && !in_vain;
    }
    candidate.outgrown = has_outgrown(worker->memory(), footprint);
    candidate.most = worker->spec().memory_limit;
    if (is_known && !candidate.outgrown) candidate.most = std::min(candidate.most, footprint);
    candidate.grace = worker->agent().grace;
    candidate.growth = worker->is_suspended() ? Growth{} : worker->growth.growth();
    candidate.work_lost += std::chrono::duration<double>(worker->cold_start()).count();
    if (worker->state() == Worker::State::ending && !candidate.back_by)
      candidate.back_by = worker->ending_since() + settle;
    const auto entry = std::ranges::find(suspended_, worker->id(), &Suspended::worker_id);
    // One that is dying was let go on for it: what it still holds comes back.
    if (entry != suspended_.end() && entry->paged_out && !candidate.dying) candidate.memory = {};
    list.push_back(std::move(candidate));
  }
  return list;
}

void Dispatcher::apply(const Action& action, const MemorySnapshot& snapshot) {
  const bool acting = config_->flags.memory_governance;
  std::visit(overloaded{
                 [&](const Crossed& crossed) {
                   const Crossing& crossing = crossed.crossing;
                   const bool over_any = governor_.pressure().level() > 0;
                   if (!over_any) rungs_.clear();
                   if (crossing.threshold == Threshold::preempt && crossing.direction == Direction::down) {
                     for (auto& [id, run] : runs_) run.let_in = false;
                   }
                   if (crossing.threshold == Threshold::reject) {
                     crossing.direction == Direction::up ? memory_refusals_.began(loop_.now())
                                                         : memory_refusals_.ended(loop_.now());
                   }
                   events_.emit(
                       "g" + std::to_string(decisions_),
                       ThresholdCrossed{crossing.threshold, crossing.direction, crossing.ratio, snapshot});
                 },
                 [&](const HintPressure& hint) {
                   if (!acting || !config_->memory.ladder.hint) return;
                   note_rung("hint");
                   for (const auto& worker : pool_.workers()) {
                     if (worker->state() == Worker::State::serving)
                       worker->send(PressureHint{hint.level, hint.ratio});
                   }
                 },
                 [&](const EndIdleWorkers& end) {
                   if (!acting) return;
                   note_rung("end_idle", pool_.idle_memory());
                   if (end.at_once) {
                     pool_.kill_idle();
                   } else {
                     pool_.end_idle(loop_.now());
                   }
                 },
                 [](const Foreseen&) {},   // noted before
                 [](const RoomAgain&) {},  // who waited is looked at below
                 [&](const PreemptTask& preempt) { govern(preempt.task_id, Step::preempt, preempt.ratio); },
                 [&](const SuspendTask& suspend) { govern(suspend.task_id, Step::suspend, suspend.ratio); },
                 [&](const KillTask& kill) { govern(kill.task_id, Step::kill, kill.ratio); },
             },
             action);
}

void Dispatcher::govern(const std::string& task_id, Step step, double ratio) {
  static constexpr std::array names = {"suspend", "preempt", "kill"};
  const bool kill = step == Step::kill;
  const std::string correlation = "g" + std::to_string(decisions_);
  const auto found = runs_.find(task_id);
  if (found == runs_.end() || found->second.worker == nullptr) return;
  Worker* worker = found->second.worker;
  const TimePoint now = loop_.now();
  if (!config_->flags.memory_governance) {
    found->second.back_by = now + settle;  // said once, and again if nothing changes
    found->second.spared = kill;
    return events_.emit(correlation, Withheld{names.at(static_cast<std::size_t>(step)), task_id, ratio});
  }
  if (step == Step::suspend) return suspend(*worker, correlation);
  const auto tasks = worker->tasks();
  for (const std::string& id : tasks) {
    Run& run = runs_.at(id);
    run.stop.correlation_id = correlation;
    if (run.stop.chosen_by.empty()) run.stop.chosen_by = correlation;
    run.stop.decided = now;
    if (!kill) {
      stop_run(run, Intent::preempt, "preempt");
      continue;
    }
    run.back_by = now + settle;
    if (run.intent == Intent::none || run.intent == Intent::preempt) {
      run.intent = Intent::budget;
      run.stop.why = "kill";
    }
  }
  if (kill) worker->kill();
}

}  // namespace kurultai
