// The dispatcher's side of memory: readings go to the governor, its actions are carried out here.
#include <algorithm>

#include "supervisor/dispatcher.h"

namespace kurultai {

namespace {

template <typename... Cases>
struct overloaded : Cases... {
  using Cases::operator()...;
};

}  // namespace

void Dispatcher::on_reading(const MemorySnapshot& snapshot) {
  for (const NamedReading& named : snapshot.workers.groups) {
    if (Worker* worker = pool_.find(named.name)) note_reading(*worker, named.reading);
  }
  const auto running = candidates();
  const auto ending = std::ranges::count_if(pool_.workers(), [](const auto& worker) {
    return worker->state() == Worker::State::ending && worker->tasks().empty();
  });
  // With governance off idle workers stay: nothing that would be done may wait for their end.
  const int idle = config_->flags.memory_governance ? pool_.idle() : 0;
  const Situation situation{snapshot.used, snapshot.budget, running, idle, static_cast<int>(ending)};
  const auto actions = governor_.decide(situation, loop_.now());
  if (actions.empty()) return;
  decisions_ += 1;
  for (const Action& action : actions) apply(action, snapshot);
  pump();
}

void Dispatcher::note_reading(Worker& worker, const GroupReading& reading) {
  if (!worker.note_reading(reading)) return;
  const WorkerSpec& spec = worker.spec();
  events_.emit(worker.id(), MemoryWarning{worker.id(), worker.agent().name, reading.used, spec.memory_warning,
                                          spec.memory_limit});
}

// One candidate a worker: memory is freed by whole workers, and one that runs several tasks counts as its
// highest.
std::vector<Candidate> Dispatcher::candidates() const {
  std::vector<Candidate> list;
  for (const auto& worker : pool_.workers()) {
    const Run* highest = nullptr;
    bool leaving = worker->state() == Worker::State::ending;
    for (const std::string& task_id : worker->tasks()) {
      const Run& run = runs_.at(task_id);
      if (!run.sent) continue;
      leaving = leaving || run.intent != Intent::none;
      if (highest == nullptr || run.task.priority < highest->task.priority) highest = &run;
    }
    if (highest == nullptr) continue;
    list.push_back({highest->task.id, highest->task.priority, highest->agent->preemptable, leaving,
                    worker->memory(), highest->task.run_since});
  }
  return list;
}

void Dispatcher::apply(const Action& action, const MemorySnapshot& snapshot) {
  const bool acting = config_->flags.memory_governance;
  std::visit(overloaded{
                 [&](const Crossed& crossed) {
                   const Crossing& crossing = crossed.crossing;
                   events_.emit(
                       "g" + std::to_string(decisions_),
                       ThresholdCrossed{crossing.threshold, crossing.direction, crossing.ratio, snapshot});
                 },
                 [&](const HintPressure& hint) {
                   if (!acting) return;
                   for (const auto& worker : pool_.workers()) {
                     if (worker->state() == Worker::State::serving)
                       worker->send(PressureHint{hint.level, hint.ratio});
                   }
                 },
                 [&](const EndIdleWorkers&) {
                   if (acting) pool_.end_idle(loop_.now());
                 },
                 [&](const PreemptTask& preempt) { govern(preempt.task_id, false, preempt.ratio); },
                 [&](const KillTask& kill) { govern(kill.task_id, true, kill.ratio); },
             },
             action);
}

void Dispatcher::govern(const std::string& task_id, bool kill, double ratio) {
  const std::string correlation = "g" + std::to_string(decisions_);
  if (!config_->flags.memory_governance) {
    return events_.emit(correlation, Withheld{kill ? "kill" : "preempt", task_id, ratio});
  }
  const auto found = runs_.find(task_id);
  if (found == runs_.end()) return;
  if (kill && monitor_ != nullptr) {
    // Memory may have come back since the reading: a kill is not taken back.
    const auto fresh = monitor_->read_now();
    if (fresh && fresh->ratio() < governor_.pressure().thresholds().at(Threshold::kill))
      return governor_.withdraw();
  }
  Worker* worker = found->second.worker;
  if (worker == nullptr) return;
  const TimePoint now = loop_.now();
  const auto tasks = worker->tasks();
  for (const std::string& id : tasks) {
    Run& run = runs_.at(id);
    run.correlation_id = correlation;
    run.decided = now;
    if (!kill) {
      stop_run(run, Intent::preempt, "preempt");
    } else if (run.intent == Intent::none || run.intent == Intent::preempt) {
      run.intent = Intent::budget;
      run.why = "kill";
    }
  }
  if (kill) worker->kill();
}

}  // namespace kurultai
