// Keeps callers from a thing that keeps failing: an agent, an outbound connection, an agent's external API.
// Closed it lets everyone through; after `failures` within `window` it is open and refuses; after the
// back-off it is half-open and lets single probes through, until `successes` of them in a row close it or one
// failure opens it again. Pure; not thread-safe. It changes only when it is called: an open one whose
// back-off is over stays open until somebody asks. A `now` that goes back counts as no time passed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/duration.h"

namespace kurultai {

enum class BreakerState : unsigned char { closed, half_open, open };  // in the order of the gauge: 0, 1, 2
std::string_view to_string(BreakerState state);

struct BreakerSettings {
  int failures = 3;  // at least 1, as are successes
  Duration window = std::chrono::seconds(60);
  int successes = 2;
  std::vector<Duration> backoff = {std::chrono::seconds(1), std::chrono::seconds(2), std::chrono::seconds(4),
                                   std::chrono::seconds(8)};  // the last one repeats; empty: no pause
  Duration probe_timeout = std::chrono::seconds(60);          // 0: whoever has the probe always gives it back
  bool operator==(const BreakerSettings&) const = default;
};

/// Who makes a call: a task, or a worker, which tells its calls apart by number.
struct BreakerCaller {
  std::string_view who;
  std::int64_t call = 0;
};

struct BreakerChange {
  BreakerState from;
  BreakerState to;
  bool operator==(const BreakerChange&) const = default;
};

class CircuitBreaker {
 public:
  explicit CircuitBreaker(BreakerSettings settings);

  struct Answer {
    bool allowed;
    Duration retry_after{0};  // when refused: how long until asking can help, at least 1 ms
    std::optional<BreakerChange> change = std::nullopt;  // open to half-open, with the first probe
  };

  /// Whether a call may be made now. In half-open one probe at a time: one that stays without an answer for
  /// `probe_timeout` is given up, and another may be tried.
  Answer acquire(TimePoint now, BreakerCaller caller);

  /// How a call ended. Only the probe's own answer counts while it is half-open; all others, and those that
  /// come while it is open, are late ones of calls from before.
  std::optional<BreakerChange> success(TimePoint now, BreakerCaller caller);
  /// Failures count while the oldest of `failures` is at most `window` old; successes between them clear
  /// nothing.
  std::optional<BreakerChange> failure(TimePoint now, BreakerCaller caller);
  /// The call was not made, or nothing was learned from it: if it was the probe, another may be tried at
  /// once.
  void give_back(BreakerCaller caller);
  /// All calls of `who`, who is gone.
  void give_back_all(std::string_view who);
  bool has_probe(BreakerCaller caller) const;

  BreakerState state() const { return state_; }
  /// How long `acquire` would refuse from now on; 0: it would not.
  Duration retry_after(TimePoint now) const;
  /// How many failures count towards opening; 0 unless it is closed.
  int failures(TimePoint now) const;
  /// Whether a new one would do as well: it is closed and has no failures, or nobody has asked for so long
  /// that what it knows says nothing any more.
  bool may_be_forgotten(TimePoint now) const;

 private:
  struct Probe {
    std::string who;
    std::int64_t call;
    TimePoint since;
  };

  TimePoint never_back(TimePoint now);
  TimePoint never_back(TimePoint now) const;
  Duration current_backoff() const;
  BreakerChange enter(BreakerState state);
  BreakerChange reopen(TimePoint now);

  BreakerSettings settings_;
  BreakerState state_ = BreakerState::closed;
  std::deque<TimePoint> failures_;  // while closed, the newest; fewer than settings_.failures
  TimePoint opened_at_;
  std::optional<Probe> probe_;  // while half-open
  int successes_in_row_ = 0;
  std::size_t step_ = 0;  // of the back-off
  TimePoint latest_ = TimePoint::min();
  TimePoint::duration lag_{0};  // by how much the clock has gone back so far
};

}  // namespace kurultai
