// What waits to be told to somebody outside, and when it is sent: in order, in batches, one request at a
// time. While the receiver fails it is asked no more often than its circuit breaker lets through. What there
// is no room for gives way, the oldest first, and is counted. Pure; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "governance/circuit_breaker.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

class Outbox {
 public:
  static constexpr std::size_t most_in_batch = 100;
  static constexpr Bytes largest_batch = kibibytes(256);  // or one event
  static constexpr Duration pause{1000};                  // after a failure, whatever the breaker says

  enum class Outcome : unsigned char {
    delivered,
    refused,  // the receiver answers, but will not have this batch, now or later: it is dropped
    failed,   // it is tried again
  };

  struct Batch {
    std::vector<std::string> events;  // JSON objects
    std::optional<BreakerChange> change = std::nullopt;
  };

  struct Counts {
    std::uint64_t delivered = 0;
    std::uint64_t dropped = 0;
    std::uint64_t attempts = 0;
    Counts& operator+=(const Counts& other);
  };

  /// Without a breaker (`breaks` is false) only the pause holds it back.
  Outbox(Bytes buffer, BreakerSettings breaker, bool breaks);

  /// `event` is a JSON object. One that is larger than all of the buffer is dropped itself.
  void push(std::string event);

  /// What is to be sent now. Nothing: none waits, a batch is on its way, or it is too early.
  std::optional<Batch> take(TimePoint now);
  /// What came of the batch that was taken.
  std::optional<BreakerChange> done(Outcome outcome, TimePoint now);
  /// All that was not delivered, what is on its way too, for somebody else to deliver.
  std::vector<std::string> give_up();
  /// All that was not delivered counts as dropped.
  void drop_all();
  /// Until `take` could give one, were there any.
  Duration wait(TimePoint now) const;

  /// Under other rules, with the breaker closed.
  void start_anew(BreakerSettings breaker, bool breaks);

  std::size_t sending() const { return sending_.size(); }
  bool is_sending() const { return !sending_.empty(); }
  bool is_empty() const { return waiting_.empty() && sending_.empty(); }
  std::size_t size() const { return waiting_.size() + sending_.size(); }
  Bytes held() const { return held_; }
  const Counts& counts() const { return counts_; }
  const CircuitBreaker& breaker() const { return breaker_; }
  /// Whether the receiver has not answered since the last failure.
  bool is_failing() const { return failing_; }

 private:
  void drop_oldest();

  const Bytes buffer_;
  CircuitBreaker breaker_;
  bool breaks_;
  std::deque<std::string> waiting_;
  std::vector<std::string> sending_;  // the oldest of all
  Bytes held_{};                      // of both
  Bytes sending_bytes_{};
  TimePoint not_before_ = TimePoint::min();
  bool failing_ = false;
  Counts counts_;
};

}  // namespace kurultai
