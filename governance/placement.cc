#include "governance/placement.h"

#include <algorithm>

namespace kurultai {
namespace {

using Standing = WorkerView::Standing;

// The worker for which `fits` is true and that no other such one beats; nullptr when there is none.
template <typename Fits, typename Beats>
const WorkerView* best(std::span<const WorkerView> workers, Fits fits, Beats beats) {
  const WorkerView* found = nullptr;
  for (const WorkerView& worker : workers) {
    if (fits(worker) && (found == nullptr || beats(worker, *found))) found = &worker;
  }
  return found;
}

bool is_wanted(const WorkerView& worker, const WantedWorker& wanted) {
  return worker.agent == wanted.agent && worker.memory_limit == wanted.memory_limit;
}

template <typename Kind>
const WorkerView* warmest_idle(std::span<const WorkerView> workers, Kind is_kind) {
  return best(
      workers, [&](const WorkerView& w) { return w.standing == Standing::idle && is_kind(w); },
      [](const WorkerView& a, const WorkerView& b) { return a.idle_since > b.idle_since; });
}

template <typename Kind>
const WorkerView* with_free_slot(Standing standing, std::span<const WorkerView> workers, Kind is_kind) {
  return best(
      workers, [&](const WorkerView& w) { return w.standing == standing && w.free_slots > 0 && is_kind(w); },
      [](const WorkerView& a, const WorkerView& b) { return a.free_slots > b.free_slots; });
}

const WorkerView* one_there(const WantedWorker& wanted, std::span<const WorkerView> workers) {
  for (const bool suspect : {false, true}) {
    const auto kind = [&](const WorkerView& w) { return is_wanted(w, wanted) && w.suspect == suspect; };
    if (const auto* worker = warmest_idle(workers, kind)) return worker;
    for (const Standing standing : {Standing::busy, Standing::starting}) {
      if (const auto* worker = with_free_slot(standing, workers, kind)) return worker;
    }
  }
  return nullptr;
}

const WorkerView* longest_idle_of_others(const WantedWorker& wanted, std::span<const WorkerView> workers) {
  return best(
      workers, [&](const WorkerView& w) { return w.standing == Standing::idle && !is_wanted(w, wanted); },
      [](const WorkerView& a, const WorkerView& b) { return a.idle_since < b.idle_since; });
}

/// Where a further worker of the agent may not be.
Placement among_own(const WantedWorker& wanted, std::span<const WorkerView> workers) {
  const auto* other = best(
      workers, [&](const WorkerView& w) { return w.agent == wanted.agent && w.standing == Standing::idle; },
      [](const WorkerView& a, const WorkerView& b) { return a.idle_since < b.idle_since; });
  if (other != nullptr) return YieldWorker{other->worker_id};
  return WaitForOwn{};
}

}  // namespace

Placement place(const WantedWorker& wanted, std::span<const WorkerView> workers, int max_workers) {
  if (const auto* worker = one_there(wanted, workers)) return UseWorker{worker->worker_id};

  const auto own = std::ranges::count(workers, wanted.agent, &WorkerView::agent);
  if (wanted.max_workers > 0 && own >= wanted.max_workers) return among_own(wanted, workers);
  const auto count = std::ssize(workers);
  if (count < max_workers) return SpawnWorker{};
  const auto ending = std::ranges::count(workers, Standing::ending, &WorkerView::standing);
  if (count - ending < max_workers) return WaitForWorker{};
  if (const auto* worker = longest_idle_of_others(wanted, workers)) return YieldWorker{worker->worker_id};
  return WaitForWorker{};
}

}  // namespace kurultai
