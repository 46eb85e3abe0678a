#include "governance/circuit_breaker.h"

#include <algorithm>
#include <array>
#include <utility>

namespace kurultai {

std::string_view to_string(BreakerState state) {
  constexpr std::array<std::string_view, 3> words = {"closed", "half_open", "open"};
  return words[static_cast<std::size_t>(state)];
}

CircuitBreaker::CircuitBreaker(BreakerSettings settings) : settings_(std::move(settings)) {
  settings_.failures = std::max(settings_.failures, 1);
  settings_.successes = std::max(settings_.successes, 1);
  if (settings_.backoff.empty()) settings_.backoff = {Duration(0)};
}

CircuitBreaker::Answer CircuitBreaker::acquire(TimePoint caller_now) {
  const TimePoint now = never_back(caller_now);
  if (state_ == BreakerState::closed) return {.allowed = true};

  if (const Duration wait = retry_after(caller_now); wait.count() > 0)
    return {.allowed = false, .retry_after = wait};
  Answer answer{.allowed = true};
  if (state_ == BreakerState::open) answer.change = enter(BreakerState::half_open);
  probe_since_ = now;
  return answer;
}

std::optional<BreakerChange> CircuitBreaker::success(TimePoint caller_now) {
  never_back(caller_now);
  if (state_ != BreakerState::half_open || !probe_since_) return std::nullopt;
  probe_since_.reset();
  if (++successes_in_row_ < settings_.successes) return std::nullopt;
  step_ = 0;
  return enter(BreakerState::closed);
}

std::optional<BreakerChange> CircuitBreaker::failure(TimePoint caller_now) {
  const TimePoint now = never_back(caller_now);
  if (state_ == BreakerState::half_open && probe_since_) {
    step_ = std::min(step_ + 1, settings_.backoff.size() - 1);
    return reopen(now);
  }
  if (state_ != BreakerState::closed) return std::nullopt;
  std::erase_if(failures_, [&](TimePoint at) { return now - at > settings_.window; });
  failures_.push_back(now);
  if (failures_.size() < static_cast<std::size_t>(settings_.failures)) return std::nullopt;
  return reopen(now);
}

TimePoint CircuitBreaker::never_back(TimePoint now) {
  if (now + lag_ < latest_) lag_ = latest_ - now;
  return latest_ = now + lag_;
}

TimePoint CircuitBreaker::never_back(TimePoint now) const { return std::max(now + lag_, latest_); }

Duration CircuitBreaker::retry_after(TimePoint caller_now) const {
  const auto since = refuses_since();
  if (state_ == BreakerState::closed || !since) return Duration(0);
  return std::max(std::chrono::ceil<Duration>(*since + current_backoff() - never_back(caller_now)),
                  Duration(0));
}

int CircuitBreaker::failures(TimePoint caller_now) const {
  const TimePoint now = never_back(caller_now);
  return static_cast<int>(
      std::ranges::count_if(failures_, [&](TimePoint at) { return now - at <= settings_.window; }));
}

Duration CircuitBreaker::current_backoff() const { return settings_.backoff[step_]; }

std::optional<TimePoint> CircuitBreaker::refuses_since() const {
  return state_ == BreakerState::open ? opened_at_ : probe_since_;
}

BreakerChange CircuitBreaker::enter(BreakerState state) {
  failures_.clear();
  probe_since_.reset();
  successes_in_row_ = 0;
  return {std::exchange(state_, state), state};
}

BreakerChange CircuitBreaker::reopen(TimePoint now) {
  opened_at_ = now;
  return enter(BreakerState::open);
}

}  // namespace kurultai
