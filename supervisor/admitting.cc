// The dispatcher's side of admission: what tasks are expected to use, and whether the next one fits.
#include <algorithm>
#include <unordered_map>

#include "supervisor/dispatcher.h"
#include "supervisor/event_log.h"

namespace kurultai {

namespace {

// A look through a long queue is made at every start.
constexpr std::size_t most_passed_at_once = 64;

constexpr Bytes supervisor_room = mebibytes(16);  // that it may grow by, and the parts still fit

}  // namespace

void Dispatcher::keep_footprints(const std::string& path) {
  footprint_file_ = std::make_unique<FootprintFile>(loop_, path, [this] { return footprints_; });
  auto kept = footprint_file_->load();
  if (kept) {
    footprints_ = *std::move(kept);
    return;
  }
  const std::string what = "footprints are learned anew: " + kept.error().message;
  if (kept.error().code == ENOENT) return log_info(what);
  log_warning(what);
}

void Dispatcher::learn_footprint(const Task& task) {
  const bool at_its_cap = task.error && task.error->reason == FailReason::memory_cap;
  if (task.peak.count <= 0 || (task.state != TaskState::completed && !at_its_cap)) return;
  footprints_.record(task.agent, task.size_class, task.peak, loop_.wall_now());
  if (footprint_file_ != nullptr) footprint_file_->changed();
}

/// Whether its footprint is what tasks like it used, and no guess.
bool Dispatcher::is_learned(const Task& task) const {
  return config_->admission == AdmissionRule::footprint && !task.grown_limit &&
         footprints_.samples(task.agent, task.size_class) >= Footprints::fewest_samples;
}

Bytes Dispatcher::footprint_of(const Task& task) const {
  const Bytes cap = limit_of(task);
  if (config_->admission == AdmissionRule::none) return {};
  if (config_->admission == AdmissionRule::cap) return cap;
  if (task.grown_limit) return cap;  // all it had before was too little
  const Bytes learned = footprint_of(task.agent, task.size_class, cap);
  // What it showed before it was sent back it will need again; how much more one needs that has outgrown what
  // was learned nobody knows.
  return has_outgrown(task.peak, learned) ? cap : std::min(cap, std::max(learned, task.peak));
}

Bytes Dispatcher::footprint_of(const std::string& agent, const std::string& size_class, Bytes cap) const {
  return footprints_.of(agent, size_class, cap, guessed_footprint().value_or(cap));
}

/// An equal part for each of `workers.max`: that many are meant to run together. Nothing where that is auto.
std::optional<Bytes> Dispatcher::guessed_footprint() const {
  if (!config_->workers.max) return std::nullopt;
  const Bytes own = supervisor_room + (monitor_ != nullptr ? monitor_->last().supervisor_rss : Bytes{});
  const Bytes line = share_of(budget(), config_->memory.thresholds.at(Threshold::preempt));
  return std::max(Bytes{(line - own).count / *config_->workers.max}, mebibytes(1));
}

/// That fits below the preempt threshold at all, alone.
Bytes Dispatcher::largest_cap() const {
  const Bytes own = monitor_ != nullptr ? monitor_->last().supervisor_rss : Bytes{};
  return share_of(budget(), config_->memory.thresholds.at(Threshold::preempt)) -
         std::max(own, supervisor_room);
}

Bytes Dispatcher::budget() const {
  return monitor_ != nullptr ? monitor_->last().budget : config_->memory.budget.value_or(Bytes{});
}

WorkerLoad Dispatcher::load_of(const Worker& worker) const {
  std::vector<const Run*> runs;
  runs.reserve(worker.tasks().size());
  for (const std::string& task_id : worker.tasks()) runs.push_back(&runs_.at(task_id));
  return load_of(worker, runs);
}

WorkerLoad Dispatcher::load_of(const Worker& worker, std::span<const Run* const> runs) const {
  WorkerLoad load{worker.id(), worker.memory(), {}, WorkerLoad::Standing::idle, worker.idle_since()};
  const TimePoint now = loop_.now();
  TimePoint back_by = TimePoint::min();  // the latest of its tasks'
  bool leaves = true;
  for (const Run* run : runs) {
    if (!worker.is_suspended()) load.expected = std::max(load.expected, run->footprint);
    leaves = leaves && run->back_by;
    if (run->back_by) back_by = std::max(back_by, *run->back_by);
  }
  const bool ends = worker.state() == Worker::State::ending || worker.is_retiring();
  if (runs.empty()) {
    if (!ends) return load;
    back_by = worker.ending_since() + worker.agent().grace + settle;
  } else if (worker.state() == Worker::State::ending) {
    back_by = std::max(back_by, worker.ending_since() + settle);
  } else if (!leaves) {
    load.standing = WorkerLoad::Standing::busy;
    return load;
  }
  load.standing = now < back_by ? WorkerLoad::Standing::leaving : WorkerLoad::Standing::stuck;
  return load;
}

/// The running tasks elsewhere than in `worker`, as admission sees them.
std::vector<Candidate> Dispatcher::outranked(std::string_view worker) const {
  std::vector<Candidate> running = candidates();
  std::erase_if(running, [&](Candidate& candidate) {
    const Run& run = runs_.at(candidate.task_id);
    candidate.preemptable = run.agent->preemptable && !run.declined;  // however it was let in
    candidate.memory = committed(load_of(*run.worker));
    return run.worker->id() == worker || run.worker->is_suspended();
  });
  return running;
}

std::vector<WorkerLoad> Dispatcher::loads() const {
  // Every start asks, and workers may have many slots: no looking up of each task by its id.
  std::unordered_map<const Worker*, std::vector<const Run*>> runs;
  for (const auto& [id, run] : runs_) runs[run.worker].push_back(&run);
  std::vector<WorkerLoad> loads;
  loads.reserve(pool_.workers().size());
  for (const auto& worker : pool_.workers()) loads.push_back(load_of(*worker, runs[worker.get()]));
  return loads;
}

/// Without those that it could take from.
RoomQuestion Dispatcher::room_question(const Task& task, std::string_view worker,
                                       std::span<const WorkerLoad> loads) const {
  RoomQuestion question;
  question.line = share_of(budget(), config_->memory.thresholds.at(Threshold::preempt));
  question.elsewhere = stray_ + (monitor_ != nullptr ? monitor_->last().supervisor_rss : Bytes{});
  question.workers = loads;
  question.worker = worker;
  question.priority = task.priority;
  question.footprint = footprint_of(task);
  return question;
}

Admission Dispatcher::admission_of(const Task& task, const Placement& placement) const {
  if (config_->admission == AdmissionRule::none) return StartTask{};
  const auto loads = this->loads();
  const auto* use = std::get_if<UseWorker>(&placement);
  RoomQuestion question =
      room_question(task, use != nullptr ? std::string_view(use->worker_id) : std::string_view(), loads);
  if (auto answer = admit(question); std::holds_alternative<StartTask>(answer)) return answer;
  const auto running = outranked(question.worker);
  question.running = running;
  return admit(question);
}

Bytes Dispatcher::committed_with(const Task& task, const Placement& placement) const {
  const auto loads = this->loads();
  const auto* use = std::get_if<UseWorker>(&placement);
  return kurultai::committed_with(
      room_question(task, use != nullptr ? std::string_view(use->worker_id) : std::string_view(), loads));
}

Admission Dispatcher::room_for(const Task& task) const {
  return admission_of(task, place(wanted_worker(task), worker_views(), worker_limit()));
}

bool Dispatcher::finds_room(Task& task, Look& look) {
  look.admission = admission_of(task, look.placement);
  if (std::holds_alternative<StartTask>(look.admission)) return true;
  if (!config_->flags.memory_governance) {
    withhold(task, look.admission);
    return true;
  }
  waits_for_room_ = true;
  look.asks = &task;
  const auto* use = std::get_if<UseWorker>(&look.placement);
  look.worker = use != nullptr ? use->worker_id : "";
  look.placement = WaitForWorker{};
  // Nobody gives way for one that would only pass another.
  if (!look.passed.empty()) look.admission = WaitForRoom{};
  const OvertakingConfig& rule = config_->overtaking;
  look.closed = !std::holds_alternative<WaitForRoom>(look.admission) || !rule.backfill ||
                task.passes >= rule.max_passes || look.passed.size() >= most_passed_at_once;
  if (!look.closed) look.passed.push_back(&task);
  return false;
}

void Dispatcher::make_room(const Look& look, const MakeRoom& room) {
  if (room.end_workers.empty() && room.preempt.empty()) return;
  decisions_ += 1;
  if (!room.preempt.empty()) keep_receipt(look, room);
  for (const std::string& id : room.end_workers) {
    if (Worker* worker = pool_.find(id)) worker->end(std::min(idle_grace, worker->agent().grace));
  }
  for (const std::string& id : room.preempt) govern(id, Step::preempt, governor_.pressure().ratio());
}

void Dispatcher::keep_receipt(const Look& look, const MakeRoom& room) {
  const auto loads = this->loads();
  const RoomQuestion question = room_question(*look.asks, look.worker, loads);
  Receipt receipt = new_receipt(loop_.now());
  receipt.used = monitor_ != nullptr ? monitor_->last().used : Bytes{};
  receipt.budget = budget();
  receipt.running = outranked(look.worker);
  receipt.chosen = room.preempt;
  receipt.room = RoomAsked{look.asks->id, question.priority,  question.footprint,
                           question.line, question.elsewhere, look.worker,
                           loads,         room.end_workers};
  if (recorder_ != nullptr) recorder_->note(RoomSeen{receipt.now, receipt});
  hand_out(std::move(receipt));
}

/// With governance off nobody waits for room: what would have been done is said, once a task.
void Dispatcher::withhold(Task& task, const Admission& answer) {
  if (std::exchange(task.wait_told, true)) return;
  const double ratio = governor_.pressure().ratio();
  events_.emit(task.id, Withheld{"wait", task.id, ratio});
  const auto* room = std::get_if<MakeRoom>(&answer);
  if (room == nullptr) return;
  for (const std::string& id : room->preempt) events_.emit(task.id, Withheld{"preempt", id, ratio});
}

}  // namespace kurultai
