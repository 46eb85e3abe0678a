#include "governance/victims.h"

#include <algorithm>
#include <tuple>

namespace kurultai {

double work_lost(TimePoint saved, double progress, Duration cold_start, TimePoint now) {
  const std::chrono::duration<double> since = std::max(now - saved, TimePoint::duration::zero());
  const std::chrono::duration<double> start = cold_start;
  return since.count() * (1 + std::clamp(progress, 0.0, 1.0)) + start.count();
}

// The second added: of two that have just started, one is not worth a hundred times the other.
double score(const Candidate& candidate) {
  return static_cast<double>(candidate.memory.count) / (1 + candidate.work_lost);
}

std::vector<const Candidate*> rank_victims(std::span<const Candidate> candidates, bool kill) {
  struct Scored {
    double score;
    const Candidate* task;
  };
  std::vector<Scored> scored;
  for (const Candidate& task : candidates) {
    if (task.is_protected || task.dying || task.memory <= Bytes{}) continue;
    if (!kill && (!(task.preemptable || task.suspendable) || task.back_by)) continue;
    scored.push_back({score(task), &task});
  }
  std::ranges::sort(scored, [](const Scored& a, const Scored& b) {
    return std::tie(b.task->priority, b.task->outgrown, b.score, b.task->task_id) <
           std::tie(a.task->priority, a.task->outgrown, a.score, a.task->task_id);
  });
  std::vector<const Candidate*> ranked;
  ranked.reserve(scored.size());
  for (const Scored& each : scored) ranked.push_back(each.task);
  return ranked;
}

namespace {

bool are_alike(const Candidate& a, const Candidate& b) {
  return a.priority == b.priority && a.outgrown == b.outgrown;
}

/// The last one may free so much that others like it need not go; those with the lower score are spared
/// first. Nobody of a lower level is, in favour of a higher one.
void spare_needless(std::vector<const Candidate*>& victims, Bytes surplus) {
  for (std::size_t i = victims.size(); i-- > 1 && are_alike(*victims[i - 1], *victims.back());) {
    if (victims[i - 1]->memory > surplus) continue;
    surplus -= victims[i - 1]->memory;
    victims.erase(victims.begin() + static_cast<std::ptrdiff_t>(i - 1));
  }
}

}  // namespace

std::vector<const Candidate*> choose_victims(std::span<const Candidate> candidates, Bytes need, bool kill) {
  std::vector<const Candidate*> victims = rank_victims(candidates, kill);
  Bytes freed;
  std::size_t count = 0;
  while (count < victims.size() && freed < need) freed += victims[count++]->memory;
  victims.resize(count);
  spare_needless(victims, freed - need);
  return victims;
}

}  // namespace kurultai
