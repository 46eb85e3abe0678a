// Time to exhaustion: whether the kill threshold comes before those who would have to give way could have
// left in peace. Then they are asked now, and not at the preempt threshold. Nobody is ever killed for a
// prediction. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "governance/pressure.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

struct Candidate;
struct Situation;

struct Prediction {
  Bytes growth_per_second;  // of all together
  Duration left;            // until the kill threshold, if nothing is done
  Duration to_act;          // Situation::time_to_act, and the grace of who gives way first:
  Duration grace;           // less is left than both
};

struct Foresight {
  Prediction prediction;
  std::vector<const Candidate*> victims;  // may be empty: ending the idle workers is enough
};

/// What is used after `ahead`, without those who are leaving. Growth goes on for a third of the time that it
/// has lasted, as nothing is known of what comes later, and to the most that is expected of it.
Bytes used_ahead(const Situation& situation, Duration ahead, TimePoint now);

/// Whether anybody's time might run out: a quick look that is true whenever `foresee` finds something.
bool may_run_out(const Situation& situation, const Thresholds& thresholds, TimePoint now);

/// Nothing while there is time, where nothing is to be predicted, and close below the preempt threshold,
/// which is not worth being wrong for. Victims come in the order in which they would give way anyhow; as many
/// as keep the rest below the kill threshold for that time, none after one that may not be asked early.
std::optional<Foresight> foresee(const Situation& situation, const Thresholds& thresholds, TimePoint now);

/// How much longer than its grace it takes until somebody who was told to leave has gone: a second until it
/// was measured, then the longest of the newest eight times.
class TimeToAct {
 public:
  void note(Duration reaction, Duration grace);
  Duration value() const;

 private:
  static constexpr std::size_t most = 8;
  std::array<Duration, most> beyond_{};
  std::size_t count_ = 0;
};

/// What became of predictions. One is true when memory comes over the preempt threshold all the same within
/// twice the time that it gave, or would have with what gave way for it; else a false alarm. Where those who
/// grew gave way nobody knows: it was averted.
class Predictions {
 public:
  struct Counts {
    std::uint64_t come_true = 0, false_alarms = 0, averted = 0;
  };

  /// While one is open the victims of others only add to its own.
  void made(const Foresight& seen, Bytes idle, TimePoint now);
  /// Judges the open one, if its time has come; `line`: the preempt threshold.
  void note(const Situation& situation, Bytes line, TimePoint now);

  bool is_open() const { return open_.has_value(); }
  /// Until when the kill threshold was to be reached, and what was to be freed for it.
  TimePoint reached_by() const { return open_ ? open_->reached_by : TimePoint{}; }
  Bytes to_be_freed() const { return open_ ? open_->to_be_freed : Bytes{}; }
  const Counts& counts() const { return counts_; }

 private:
  struct Victim {
    std::string task_id;
    Bytes memory, growth;
  };
  struct Open {
    TimePoint reached_by, judged_at;
    Bytes idle, growth, to_be_freed;
    std::vector<Victim> victims;  // by id
  };
  struct Gone {
    Bytes memory, growth;
  };
  static Gone gone(const Open& open, const Situation& situation);

  std::optional<Open> open_;
  Counts counts_;
};

}  // namespace kurultai
