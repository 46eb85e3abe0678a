// The governor: what to do about a memory reading. Pure: one reading, the tasks that run and the time go in,
// actions come out; the dispatcher carries them out and tells nothing back but later readings.
#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "governance/exhaustion.h"
#include "governance/pressure.h"
#include "governance/victims.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

struct Situation {
  Bytes used;
  Bytes budget;
  std::span<const Candidate> running;
  Bytes idle;             // memory of workers without a task
  Bytes ending;           // of those that were told to end, as long as it may be expected back
  bool starving = false;  // a worker waits at its edge and there is nothing to give it
  bool lowered = false;  // the lines were lowered just now, and whoever is over them can still leave in peace
  /// Beyond a grace, until somebody who was told to leave has gone; absent: nothing is predicted.
  std::optional<Duration> time_to_act = {};
};

struct Crossed {
  Crossing crossing;
};
struct HintPressure {  // PRESSURE to every agent
  int level;           // of the threshold that was crossed: 1…4
  double ratio;
};
struct EndIdleWorkers {
  bool at_once;  // without time to leave by themselves
};
/// Stops it where it is and pages it out.
struct SuspendTask {
  std::string task_id;
  double ratio;
};
struct PreemptTask {
  std::string task_id;
  double ratio;
};
struct KillTask {
  std::string task_id;
  double ratio;
};
/// What follows it is done because of a prediction, and no threshold was reached.
struct Foreseen {
  Prediction prediction;
};
/// It is over: what waited for it may start.
struct RoomAgain {};
using Action = std::variant<Crossed, HintPressure, EndIdleWorkers, SuspendTask, PreemptTask, KillTask,
                            Foreseen, RoomAgain>;

/// The task that has to give way by it; null for what takes no task.
const std::string* victim_of(const Action& action);

class Governor {
 public:
  explicit Governor(Thresholds thresholds) : pressure_(thresholds) {}

  /// Every crossing becomes a Crossed, upward ones also a HintPressure. At or above `preempt` idle workers
  /// end first; what is missing beyond their memory, and beyond that of all who are leaving already, to come
  /// down `margin` below the threshold is suspended, or where that is not possible preempted, all of it at
  /// once. At or above `kill`, or when a worker
  /// starves at its edge, the same with kills; there only what is dying counts as on its way, so that a task
  /// which is being preempted may still be killed. While the lines are `lowered` nobody is killed.
  /// Below `preempt` the same, without kills, when time runs out (exhaustion.h): then the first is Foreseen.
  std::vector<Action> decide(const Situation& situation, TimePoint now);

  /// How far below a threshold the governor goes, as a share of the budget: else the next page would cross it
  /// again.
  static constexpr double margin = 0.02;

  bool skips_heartbeats() const { return pressure_.is_over(Threshold::skip_heartbeats); }
  bool refuses_work() const { return pressure_.is_over(Threshold::reject); }
  /// Whether a waiting task may start: no heartbeat above skip_heartbeats; above `preempt` only CRITICAL, and
  /// anything but a heartbeat when nothing runs (else a supervisor that is itself large would never start
  /// anything again).
  /// The same as long as what was taken away for a prediction may still be needed.
  bool allows_start(Priority priority, bool anything_running) const;
  bool keeps_room() const { return keeps_room_; }
  const Predictions& predictions() const { return predictions_; }

  const Pressure& pressure() const { return pressure_; }
  void configure(Thresholds thresholds) { pressure_.set_thresholds(thresholds); }

 private:
  bool is_at(Threshold threshold) const { return pressure_.ratio() >= pressure_.thresholds().at(threshold); }
  void choose(const Situation& situation, bool kill, TimePoint now, std::vector<Action>& actions) const;
  void look_ahead(const Situation& situation, TimePoint now, std::vector<Action>& actions);
  void look_back(const Situation& situation, TimePoint now, std::vector<Action>& actions);
  void give_way(const Candidate& victim, std::vector<Action>& actions) const;

  Pressure pressure_;
  Predictions predictions_;
  bool keeps_room_ = false;
};

/// What has to be freed beyond what is on its way back.
Bytes deficit(const Situation& situation, double line, bool kill, TimePoint now);

}  // namespace kurultai
