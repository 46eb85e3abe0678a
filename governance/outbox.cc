#include "governance/outbox.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace kurultai {

namespace {

constexpr BreakerCaller the_sender{"sender"};

Bytes size_of(const std::string& event) { return Bytes{static_cast<std::int64_t>(event.size())}; }

/// Every request is answered for: there is no probe that stays away.
BreakerSettings without_probe_timeout(BreakerSettings settings) {
  settings.probe_timeout = Duration(0);
  return settings;
}

}  // namespace

Outbox::Counts& Outbox::Counts::operator+=(const Counts& other) {
  delivered += other.delivered;
  dropped += other.dropped;
  attempts += other.attempts;
  return *this;
}

Outbox::Outbox(Bytes buffer, BreakerSettings breaker, bool breaks)
    : buffer_(buffer), breaker_(without_probe_timeout(std::move(breaker))), breaks_(breaks) {}

void Outbox::push(std::string event) {
  const Bytes size = size_of(event);
  if (sending_bytes_ + size > buffer_) {
    counts_.dropped += 1;
    return;
  }
  while (held_ + size > buffer_) drop_oldest();
  held_ += size;
  waiting_.push_back(std::move(event));
}

void Outbox::drop_oldest() {
  held_ -= size_of(waiting_.front());
  waiting_.pop_front();
  counts_.dropped += 1;
}

std::optional<Outbox::Batch> Outbox::take(TimePoint now) {
  if (waiting_.empty() || !sending_.empty() || now < not_before_) return std::nullopt;
  const auto pass = breaker_.acquire(now, the_sender);
  if (!pass.allowed && breaks_) return std::nullopt;
  Bytes size{};
  while (!waiting_.empty() && sending_.size() < most_in_batch) {
    size = size + size_of(waiting_.front());
    if (!sending_.empty() && size > largest_batch) break;
    sending_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  for (const std::string& event : sending_) sending_bytes_ += size_of(event);
  counts_.attempts += 1;
  return Batch{sending_, pass.change};
}

std::optional<BreakerChange> Outbox::done(Outcome outcome, TimePoint now) {
  if (sending_.empty()) return std::nullopt;
  failing_ = outcome == Outcome::failed;
  if (failing_) {
    waiting_.insert(waiting_.begin(), std::move_iterator(sending_.begin()),
                    std::move_iterator(sending_.end()));
    not_before_ = now + pause;
  } else {
    (outcome == Outcome::delivered ? counts_.delivered : counts_.dropped) += sending_.size();
    held_ -= sending_bytes_;
  }
  sending_.clear();
  sending_bytes_ = {};
  // Where it answers, it is well, whatever it makes of the events.
  return failing_ ? breaker_.failure(now, the_sender) : breaker_.success(now, the_sender);
}

std::vector<std::string> Outbox::give_up() {
  auto all = std::exchange(sending_, {});
  all.insert(all.end(), std::move_iterator(waiting_.begin()), std::move_iterator(waiting_.end()));
  waiting_.clear();
  held_ = sending_bytes_ = {};
  return all;
}

void Outbox::drop_all() { counts_.dropped += give_up().size(); }

void Outbox::start_anew(BreakerSettings breaker, bool breaks) {
  breaker_ = CircuitBreaker(without_probe_timeout(std::move(breaker)));
  breaks_ = breaks;
}

Duration Outbox::wait(TimePoint now) const {
  const Duration breaker = breaks_ ? breaker_.retry_after(now) : Duration(0);
  if (now >= not_before_) return breaker;
  return std::max(breaker, std::chrono::ceil<Duration>(not_before_ - now));
}

}  // namespace kurultai
