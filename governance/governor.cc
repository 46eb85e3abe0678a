#include "governance/governor.h"

#include <algorithm>
#include <tuple>

namespace kurultai {

const Candidate* choose_victim(std::span<const Candidate> running, bool only_preemptable) {
  const auto gives_way = [](const Candidate& task) {
    return std::tuple(task.priority, task.memory, task.started);
  };
  const Candidate* victim = nullptr;
  for (const Candidate& task : running) {
    if (only_preemptable && (!task.preemptable || task.leaving)) continue;
    if (victim == nullptr || gives_way(task) > gives_way(*victim)) victim = &task;
  }
  return victim;
}

std::vector<Action> Governor::decide(const Situation& situation, TimePoint now) {
  std::vector<Action> actions;
  for (const Crossing& crossing : pressure_.update(ratio_of(situation.used, situation.budget))) {
    actions.emplace_back(Crossed{crossing});
    if (crossing.direction == Direction::down) {
      // The memory that was asked for has come back: when it rises again, the next choice waits for nothing.
      if (crossing.threshold >= Threshold::preempt) last_.reset();
      continue;
    }
    actions.emplace_back(HintPressure{static_cast<int>(crossing.threshold) + 1, crossing.ratio});
  }
  if (!is_at(Threshold::preempt)) return actions;
  if (situation.idle_workers > 0) actions.emplace_back(EndIdleWorkers{});
  if (auto chosen = choose(situation, now)) actions.push_back(*std::move(chosen));
  return actions;
}

std::optional<Action> Governor::choose(const Situation& situation, TimePoint now) {
  const bool kill = is_at(Threshold::kill);
  if (kill ? !may_kill(situation, now) : !may_preempt(situation, now)) return std::nullopt;
  const Candidate* victim = choose_victim(situation.running, !kill);
  if (victim == nullptr) return std::nullopt;
  last_ = Choice{victim->task_id, now, kill};
  if (kill) return KillTask{victim->task_id, pressure_.ratio()};
  return PreemptTask{victim->task_id, pressure_.ratio()};
}

bool Governor::may_preempt(const Situation& situation, TimePoint now) {
  const bool idle_first = situation.idle_workers > 0 || situation.ending_workers > 0;
  return !idle_first && !std::ranges::any_of(situation.running, &Candidate::leaving) && !settling(now);
}

// Only the last kill holds up the next one. Its task may run again under the same id, hence `leaving`.
bool Governor::may_kill(const Situation& situation, TimePoint now) {
  if (!last_ || !last_->kill) return true;
  const auto is_dying = [this](const Candidate& task) {
    return task.leaving && task.task_id == last_->task_id;
  };
  return !std::ranges::any_of(situation.running, is_dying) && !settling(now);
}

// A clock that went back would stretch the wait by as much: it is counted from here instead.
bool Governor::settling(TimePoint now) {
  if (!last_) return false;
  last_->at = std::min(last_->at, now);
  return now - last_->at < settle_;
}

bool Governor::allows_start(Priority priority, bool anything_running) const {
  if (priority == Priority::heartbeat && skips_heartbeats()) return false;
  if (!pressure_.is_over(Threshold::preempt)) return true;
  return priority == Priority::critical || !anything_running;
}

void Governor::configure(Thresholds thresholds, Duration settle) {
  pressure_.set_thresholds(thresholds);
  settle_ = settle;
}

}  // namespace kurultai
