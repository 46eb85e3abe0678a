#include "governance/governor.h"

#include <algorithm>

namespace kurultai {

const std::string* victim_of(const Action& action) {
  if (const auto* suspend = std::get_if<SuspendTask>(&action)) return &suspend->task_id;
  if (const auto* preempt = std::get_if<PreemptTask>(&action)) return &preempt->task_id;
  if (const auto* kill = std::get_if<KillTask>(&action)) return &kill->task_id;
  return nullptr;
}

Bytes deficit(const Situation& situation, double line, bool kill, TimePoint now) {
  Bytes missing = situation.used - share_of(situation.budget, line);
  if (situation.starving) missing = std::max(missing, share_of(situation.budget, Governor::margin));
  missing -= situation.idle + situation.ending;
  for (const Candidate& task : situation.running) {
    const bool expected = task.back_by && now < *task.back_by;
    if (expected && (task.dying || !kill)) missing -= task.memory;
  }
  return missing;
}

std::vector<Action> Governor::decide(const Situation& situation, TimePoint now) {
  std::vector<Action> actions;
  for (const Crossing& crossing : pressure_.update(ratio_of(situation.used, situation.budget))) {
    actions.emplace_back(Crossed{crossing});
    if (crossing.direction == Direction::down) continue;
    actions.emplace_back(HintPressure{static_cast<int>(crossing.threshold) + 1, crossing.ratio});
  }
  look_back(situation, now, actions);
  const bool kill = (is_at(Threshold::kill) || situation.starving) && !situation.lowered;
  if (!kill && !is_at(Threshold::preempt)) {
    look_ahead(situation, now, actions);
    return actions;
  }
  if (situation.idle.count > 0) actions.emplace_back(EndIdleWorkers{kill});
  choose(situation, kill, now, actions);
  return actions;
}

void Governor::choose(const Situation& situation, bool kill, TimePoint now,
                      std::vector<Action>& actions) const {
  const double line = pressure_.thresholds().at(kill ? Threshold::kill : Threshold::preempt) - margin;
  const Bytes need = deficit(situation, line, kill, now);
  for (const Candidate* victim : choose_victims(situation.running, need, kill)) {
    if (kill) {
      actions.emplace_back(KillTask{victim->task_id, pressure_.ratio()});
    } else {
      give_way(*victim, actions);
    }
  }
}

void Governor::give_way(const Candidate& victim, std::vector<Action>& actions) const {
  if (victim.suspendable) {
    actions.emplace_back(SuspendTask{victim.task_id, pressure_.ratio()});
  } else {
    actions.emplace_back(PreemptTask{victim.task_id, pressure_.ratio()});
  }
}

void Governor::look_ahead(const Situation& situation, TimePoint now, std::vector<Action>& actions) {
  const auto seen = foresee(situation, pressure_.thresholds(), now);
  if (!seen) return;
  actions.emplace_back(Foreseen{seen->prediction});
  if (!predictions_.is_open())
    actions.emplace_back(HintPressure{static_cast<int>(Threshold::preempt) + 1, pressure_.ratio()});
  if (situation.idle.count > 0) actions.emplace_back(EndIdleWorkers{false});
  for (const Candidate* victim : seen->victims) give_way(*victim, actions);
  predictions_.made(*seen, situation.idle, now);
  keeps_room_ = true;
}

// What was taken away stays free as long as those who grow may need it.
void Governor::look_back(const Situation& situation, TimePoint now, std::vector<Action>& actions) {
  const Thresholds& lines = pressure_.thresholds();
  if (keeps_room_) {
    const Duration left = std::chrono::ceil<Duration>(predictions_.reached_by() - now);
    const Bytes wanted = used_ahead(situation, left, now) + predictions_.to_be_freed();
    keeps_room_ = predictions_.is_open() && left > Duration(0) &&
                  wanted >= share_of(situation.budget, lines.at(Threshold::kill));
    if (!keeps_room_) actions.emplace_back(RoomAgain{});
  }
  predictions_.note(situation, share_of(situation.budget, lines.at(Threshold::preempt)), now);
}

bool Governor::allows_start(Priority priority, bool anything_running) const {
  if (priority == Priority::heartbeat && skips_heartbeats()) return false;
  if (!pressure_.is_over(Threshold::preempt) && !keeps_room_) return true;
  return priority == Priority::critical || !anything_running;
}

}  // namespace kurultai
