// The governor: what to do about a memory reading. Pure: one reading, the tasks that run and the time go in,
// actions come out; the dispatcher carries them out and tells nothing back but later readings.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "governance/pressure.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

/// A running task as the governor sees it. A worker that runs several tasks is one candidate: its highest.
struct Candidate {
  std::string task_id;
  Priority priority = Priority::normal;
  bool preemptable = true;
  bool leaving = false;  // it was preempted, killed or cancelled already, and its memory is on its way back
  Bytes memory;          // of its worker
  TimePoint started;
};

struct Situation {
  Bytes used;
  Bytes budget;
  std::span<const Candidate> running;
  int idle_workers = 0;
  int ending_workers =
      0;  // idle ones that were told to end and are not gone: their memory is on its way back
};

struct Crossed {
  Crossing crossing;
};
struct HintPressure {  // PRESSURE to every agent
  int level;           // of the threshold that was crossed: 1…4
  double ratio;
};
struct EndIdleWorkers {};
struct PreemptTask {
  std::string task_id;
  double ratio;
};
struct KillTask {
  std::string task_id;
  double ratio;
};
using Action = std::variant<Crossed, HintPressure, EndIdleWorkers, PreemptTask, KillTask>;

class Governor {
 public:
  Governor(Thresholds thresholds, Duration settle) : pressure_(thresholds), settle_(settle) {}

  /// Every crossing becomes a Crossed, upward ones also a HintPressure. At or above `preempt` idle workers
  /// end; once none is left one task is chosen to preempt, and at or above `kill` one to kill, which waits
  /// for no idle worker. While a chosen one is still leaving, or for `settle` after the last choice, no other
  /// is chosen: memory that is on its way back is never asked for twice. The one exception: above `kill`, a
  /// task that is only being preempted does not hold up the kill, which may take it.
  std::vector<Action> decide(const Situation& situation, TimePoint now);

  /// The last choice was not carried out (memory had come back before the kill): it holds nothing up.
  void withdraw() { last_.reset(); }

  bool skips_heartbeats() const { return pressure_.is_over(Threshold::skip_heartbeats); }
  bool refuses_work() const { return pressure_.is_over(Threshold::reject); }
  /// Whether a waiting task may start: no heartbeat above skip_heartbeats; above `preempt` only CRITICAL, and
  /// anything but a heartbeat when nothing runs (else a supervisor that is itself large would never start
  /// anything again).
  bool allows_start(Priority priority, bool anything_running) const;

  const Pressure& pressure() const { return pressure_; }
  void configure(Thresholds thresholds, Duration settle);

 private:
  struct Choice {
    std::string task_id;
    TimePoint at;
    bool kill;
  };

  bool is_at(Threshold threshold) const { return pressure_.ratio() >= pressure_.thresholds().at(threshold); }
  bool settling(TimePoint now);
  bool may_preempt(const Situation& situation, TimePoint now);
  bool may_kill(const Situation& situation, TimePoint now);
  std::optional<Action> choose(const Situation& situation, TimePoint now);

  Pressure pressure_;
  Duration settle_;
  std::optional<Choice> last_;
};

/// The task that is to give way: lowest priority first; inside a level the one that frees most memory, then
/// the one started last (least work lost). nullptr when there is none. `only_preemptable` leaves out the
/// others, and those that are leaving already.
const Candidate* choose_victim(std::span<const Candidate> running, bool only_preemptable);

}  // namespace kurultai
