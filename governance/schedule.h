// When a task that comes again and again is due, and what happens when the one before has not ended. A moment
// that is missed, because the one before still ran or the machine slept, is counted and never made up for.
// Pure; the owner gives the times, tells what it did, and asks again when it is time.
#pragma once

#include <cstdint>
#include <optional>

#include "governance/cron.h"
#include "protocol/duration.h"

namespace kurultai {

enum class Overlap : std::uint8_t {
  skip,     // not this time
  queue,    // when the one before has ended; one at most waits like that
  replace,  // the one before is cancelled
};

class Schedule {
 public:
  enum class Act : std::uint8_t {
    nothing,
    submit,
    cancel,  // the one before; when it has ended this one is to be submitted
  };

  explicit Schedule(Overlap overlap) : overlap_(overlap) {}

  /// It is due, and `late` moments besides have gone by without anybody looking.
  Act due(std::uint64_t late = 0);
  void started() { is_running_ = true; }
  /// It was refused; the next comes in its turn.
  void refused() { ++refused_; }
  /// What ran has ended, however it did.
  Act ended();

  bool is_running() const { return is_running_; }
  bool is_waiting() const { return is_waiting_; }
  std::uint64_t missed() const { return missed_; }
  std::uint64_t refusals() const { return refused_; }

 private:
  Overlap overlap_;
  bool is_running_ = false;
  bool is_waiting_ = false;
  std::uint64_t missed_ = 0;
  std::uint64_t refused_ = 0;
};

/// The next of an even row of moments behind `now`, and how many between the one that was due and it have
/// been missed. `every` is above 0.
struct NextMoment {
  TimePoint at;
  std::uint64_t missed = 0;
};
NextMoment next_moment(TimePoint due, Duration every, TimePoint now);

}  // namespace kurultai
