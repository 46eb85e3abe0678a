#include "governance/admission.h"

#include <algorithm>

namespace kurultai {

namespace {

using Standing = WorkerLoad::Standing;

/// What there is beside the worker that the task would run in.
struct Tally {
  Bytes committed;
  Bytes leaving;
  bool anything_runs = false;
  std::vector<const WorkerLoad*> idle;
};

Tally tally_of(const RoomQuestion& question) {
  Tally tally;
  tally.committed = question.elsewhere;
  Bytes own = question.footprint;
  for (const WorkerLoad& worker : question.workers) {
    if (worker.standing == Standing::busy) tally.anything_runs = true;
    if (worker.worker_id == question.worker) {
      own = std::max(own, committed(worker));
      continue;
    }
    tally.committed += committed(worker);
    if (worker.standing == Standing::leaving) tally.leaving += committed(worker);
    if (worker.standing == Standing::idle) tally.idle.push_back(&worker);
  }
  tally.committed += own;
  std::ranges::sort(tally.idle, {}, &WorkerLoad::idle_since);
  return tally;
}

/// Ends as many as `missing` needs and takes from it what they free.
std::vector<std::string> end_idle(const std::vector<const WorkerLoad*>& idle, Bytes& missing) {
  std::vector<std::string> ended;
  for (const WorkerLoad* worker : idle) {
    if (missing.count <= 0) break;
    if (worker->held.count <= 0) continue;
    missing -= worker->held;
    ended.push_back(worker->worker_id);
  }
  return ended;
}

std::vector<Candidate> below(Priority priority, std::span<const Candidate> running) {
  std::vector<Candidate> lower;
  std::ranges::copy_if(running, std::back_inserter(lower),
                       [priority](const Candidate& task) { return task.priority > priority; });
  return lower;
}

/// The ids of the victims; none when all that may give way is not enough.
std::vector<std::string> victims_for(const RoomQuestion& question, Bytes missing) {
  const auto lower = below(question.priority, question.running);
  auto victims = choose_victims(lower, missing, false);
  Bytes freed;
  for (const Candidate* victim : victims) freed += victim->memory;
  if (freed < missing) return {};
  // A large one may have made smaller ones before it superfluous: the most valuable of them stay.
  for (std::size_t i = victims.size(); i-- > 0;) {
    if (freed - victims[i]->memory < missing) continue;
    freed -= victims[i]->memory;
    victims.erase(victims.begin() + static_cast<std::ptrdiff_t>(i));
  }
  std::vector<std::string> ids;
  ids.reserve(victims.size());
  for (const Candidate* victim : victims) ids.push_back(victim->task_id);
  return ids;
}

}  // namespace

Bytes committed(const WorkerLoad& worker) { return std::max(worker.held, worker.expected); }

Bytes committed_with(const RoomQuestion& question) { return tally_of(question).committed; }

Admission admit(const RoomQuestion& question) {
  const Tally tally = tally_of(question);
  Bytes missing = tally.committed - question.line;
  if (missing.count <= 0) return StartTask{};
  missing -= tally.leaving;
  MakeRoom room;
  room.end_workers = end_idle(tally.idle, missing);
  if (missing.count <= 0) return room;
  if (!tally.anything_runs) {
    const bool comes_back = tally.leaving.count > 0 || !room.end_workers.empty();
    return comes_back ? Admission(room) : StartTask{.fits = false};
  }
  room.preempt = victims_for(question, missing);
  if (room.preempt.empty()) return WaitForRoom{};
  return room;
}

}  // namespace kurultai
