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
  settings_.probe_timeout = std::max(settings_.probe_timeout, Duration(0));
  if (settings_.backoff.empty()) settings_.backoff = {Duration(0)};
}

CircuitBreaker::Answer CircuitBreaker::acquire(TimePoint caller_now, BreakerCaller caller) {
  const TimePoint now = never_back(caller_now);
  if (state_ == BreakerState::closed) return {.allowed = true};

  if (const Duration wait = retry_after(caller_now); wait.count() > 0)
    return {.allowed = false, .retry_after = wait};
  Answer answer{.allowed = true};
  if (state_ == BreakerState::open) answer.change = enter(BreakerState::half_open);
  probe_ = Probe{std::string(caller.who), caller.call, now};
  return answer;
}

std::optional<BreakerChange> CircuitBreaker::success(TimePoint caller_now, BreakerCaller caller) {
  never_back(caller_now);
  if (!has_probe(caller)) return std::nullopt;
  probe_.reset();
  if (++successes_in_row_ < settings_.successes) return std::nullopt;
  step_ = 0;
  return enter(BreakerState::closed);
}

std::optional<BreakerChange> CircuitBreaker::failure(TimePoint caller_now, BreakerCaller caller) {
  const TimePoint now = never_back(caller_now);
  if (has_probe(caller)) {
    step_ = std::min(step_ + 1, settings_.backoff.size() - 1);
    return reopen(now);
  }
  if (state_ != BreakerState::closed) return std::nullopt;
  std::erase_if(failures_, [&](TimePoint at) { return now - at > settings_.window; });
  failures_.push_back(now);
  if (failures_.size() < static_cast<std::size_t>(settings_.failures)) return std::nullopt;
  return reopen(now);
}

void CircuitBreaker::give_back(BreakerCaller caller) {
  if (has_probe(caller)) probe_.reset();
}

void CircuitBreaker::give_back_all(std::string_view who) {
  if (probe_ && probe_->who == who) probe_.reset();
}

bool CircuitBreaker::has_probe(BreakerCaller caller) const {
  return probe_ && probe_->who == caller.who && probe_->call == caller.call;
}

TimePoint CircuitBreaker::never_back(TimePoint now) {
  if (now + lag_ < latest_) lag_ = latest_ - now;
  return latest_ = now + lag_;
}

TimePoint CircuitBreaker::never_back(TimePoint now) const { return std::max(now + lag_, latest_); }

Duration CircuitBreaker::retry_after(TimePoint caller_now) const {
  const TimePoint now = never_back(caller_now);
  const auto left = [&](TimePoint until) {
    return std::max(std::chrono::ceil<Duration>(until - now), Duration(0));
  };
  if (state_ == BreakerState::open) return left(opened_at_ + current_backoff());
  if (!probe_) return Duration(0);
  // Its answer can come at any time: whoever asks again that often does no harm.
  const Duration pause = std::max(current_backoff(), Duration(1));
  if (settings_.probe_timeout.count() == 0) return pause;
  return std::min(pause, left(probe_->since + settings_.probe_timeout));
}

int CircuitBreaker::failures(TimePoint caller_now) const {
  const TimePoint now = never_back(caller_now);
  return static_cast<int>(
      std::ranges::count_if(failures_, [&](TimePoint at) { return now - at <= settings_.window; }));
}

bool CircuitBreaker::may_be_forgotten(TimePoint caller_now) const {
  if (state_ == BreakerState::closed && failures(caller_now) == 0) return true;
  const auto longest = *std::ranges::max_element(settings_.backoff);
  return never_back(caller_now) - latest_ > settings_.window + longest + settings_.probe_timeout;
}

Duration CircuitBreaker::current_backoff() const { return settings_.backoff[step_]; }

BreakerChange CircuitBreaker::enter(BreakerState state) {
  failures_.clear();
  probe_.reset();
  successes_in_row_ = 0;
  return {std::exchange(state_, state), state};
}

BreakerChange CircuitBreaker::reopen(TimePoint now) {
  opened_at_ = now;
  return enter(BreakerState::open);
}

}  // namespace kurultai
