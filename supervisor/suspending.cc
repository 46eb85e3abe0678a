// The dispatcher's side of suspension: workers that stand still, their memory in swap, until there is room.
#include <algorithm>

#include "supervisor/dispatcher.h"
#include "supervisor/event_log.h"

namespace kurultai {

namespace {

// One that has just gone on is left to do some work, and one that could not be stopped is not asked at once.
constexpr Duration suspension_pause{10'000};

}  // namespace

/// Whom the governor may suspend: only where somebody may have to give way, since it asks the kernel for the
/// swap that is free.
void Dispatcher::mark_suspendable(std::vector<Candidate>& running) {
  Bytes swap = config_->memory.ladder.suspend ? controller_.free_swap() : Bytes{};
  for (const Suspended& entry : suspended_) {  // what is on its way there counts as free still
    const Worker* worker = entry.paging ? pool_.find(entry.worker_id) : nullptr;
    if (worker != nullptr) swap -= worker->memory();
  }
  if (swap <= Bytes{}) return;
  const TimePoint now = loop_.now();
  for (Candidate& candidate : running) {
    const Worker& worker = *runs_.at(candidate.task_id).worker;
    const bool stands = worker.state() == Worker::State::serving && !worker.is_suspended();
    candidate.suspendable =
        stands && worker.agent().suspendable &&
        std::ranges::all_of(worker.tasks(), [&](const std::string& id) {
          const Run& run = runs_.at(id);
          return run.sent && run.intent == Intent::none && !run.finishing && now >= run.suspend_after;
        });
  }
  fit_into_swap(running, swap);
}

void Dispatcher::suspend(Worker& worker, const std::string& correlation) {
  const TimePoint now = loop_.now();
  const auto stopped = worker.suspend();
  if (!stopped) log_warning("worker " + worker.id() + " is not suspended: " + stopped.error().message);
  for (const std::string& id : worker.tasks()) {
    Run& run = runs_.at(id);
    run.suspend_after = now + suspension_pause;
    if (!stopped) continue;
    run.timer->stop();
    run.back_by = now + page_out_time(worker.memory());
    enter(run.task, TaskState::suspended, loop_.wall_now(), {});
    keep(run.task);
    events_.emit(correlation, TaskEvent{TaskEvent::Kind::suspended, run.task});
  }
  if (!stopped) return;
  grants_.forget(worker);
  const std::uint64_t number = ++suspensions_;
  suspended_.push_back(
      {.number = number, .worker_id = worker.id(), .since = now, .size = worker.memory(), .paging = true});
  run_on_thread(loop_, worker.group().page_out_job(), [this, number, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) paged_out(number);
  });
}

void Dispatcher::paged_out(std::uint64_t suspension) {
  const auto entry = std::ranges::find(suspended_, suspension, &Suspended::number);
  Worker* worker = entry != suspended_.end() ? pool_.find(entry->worker_id) : nullptr;
  if (worker == nullptr) return;  // it had to go on meanwhile
  if (const auto reading = worker->group().read()) note_reading(*worker, *reading);
  entry->paging = false;
  entry->paged_out = worker->memory().count <= entry->size.count / 2;
  note_rung("suspend", std::max(entry->size - worker->memory(), Bytes{}), entry->since);
  for (const std::string& id : worker->tasks()) runs_.at(id).back_by.reset();
  if (monitor_ != nullptr) monitor_->nudge();
}

/// Where it was, with the time that it stood still taken out of all that is measured.
void Dispatcher::resume(Worker& worker) {
  const auto entry = std::ranges::find(suspended_, worker.id(), &Suspended::worker_id);
  if (entry == suspended_.end()) return;
  const TimePoint now = loop_.now();
  const auto stood = now - entry->since;
  const Bytes size = entry->size;
  suspended_.erase(entry);
  if (governs_edges()) grants_.expect(worker, size);  // on v2 whoever hits his edge first sleeps there
  worker.resume();
  const auto tasks = worker.tasks();
  for (const std::string& id : tasks) {
    Run& run = runs_.at(id);
    enter(run.task, TaskState::running, loop_.wall_now(), worker.id());
    keep(run.task);
    run.task.run_since += stood;
    run.last_progress += stood;
    run.saved += stood;
    run.suspend_after = now + suspension_pause;
    if (run.intent != Intent::none) continue;  // it goes on only to be stopped
    run.back_by.reset();
    events_.emit(id, TaskEvent{TaskEvent::Kind::resumed, run.task});
  }
  for (const std::string& id : tasks) {
    const auto run = runs_.find(id);
    if (run != runs_.end() && run->second.intent == Intent::none) on_deadline(id);
  }
}

void Dispatcher::resume_next(const MemorySnapshot& snapshot) {
  if (suspended_.empty() || loop_.now() < resume_at_) return;
  const bool others_run = std::ranges::any_of(pool_.workers(), [](const auto& worker) {
    return !worker->tasks().empty() && !worker->is_suspended();
  });
  const bool is_short = governor_.pressure().is_over(Threshold::preempt) || governor_.keeps_room();
  if (others_run && (is_short || waits_for_room_)) return;
  const double line = governor_.pressure().thresholds().at(Threshold::preempt) - Governor::margin;
  const Suspended* next =
      next_to_resume({snapshot.used, share_of(snapshot.budget, line), others_run, suspended_});
  Worker* worker = next != nullptr ? pool_.find(next->worker_id) : nullptr;
  if (worker == nullptr) return;
  resume_at_ = loop_.now() + settle;  // it takes its memory back little by little
  resume(*worker);
}

/// Nobody passes a task that stands still: what it gave up would be taken by others for ever.
bool Dispatcher::outranked_by_suspended(Priority priority) const {
  return std::ranges::any_of(suspended_, [&](const Suspended& entry) {
    const auto& workers = pool_.workers();
    const auto worker =
        std::ranges::find(workers, entry.worker_id, [](const auto& each) { return each->id(); });
    return worker != workers.end() && std::ranges::any_of((*worker)->tasks(), [&](const std::string& id) {
             return runs_.at(id).task.priority <= priority;
           });
  });
}

}  // namespace kurultai
