#include "governance/leak_watch.h"

#include <chrono>

namespace kurultai {

namespace {

double seconds_of(TimePoint::duration time) { return std::chrono::duration<double>(time).count(); }

/// Whether this step alone is steeper than what is a leak when it goes on.
bool is_steep(Bytes rise, double seconds, const LeakRules& rules) {
  return static_cast<double>(rise.count) / seconds * seconds_per_hour >= rules.warning_per_hour;
}

}  // namespace

bool LeakWatch::is_due(TimePoint now, Duration usual) const {
  return !last_ || now - *last_ >= (speeds_up_ ? usual / haste : usual);
}

std::optional<LeakVerdict> LeakWatch::note(TimePoint now, Duration usual, Bytes memory, Bytes cap) {
  if (!is_due(now, usual)) return std::nullopt;
  LeakRules rules;
  rules.cap = cap;
  if (!first_) first_ = now;
  const Bytes before{static_cast<std::int64_t>(series_.latest())};
  const bool is_first = series_.readings() == 0;
  if (!series_.add(seconds_of(now - *first_), static_cast<double>(memory.count))) return std::nullopt;
  speeds_up_ = !is_first && is_steep(memory - before, seconds_of(now - *last_), rules);
  last_ = now;
  verdict_ = judge_leak(series_, rules);
  if (verdict_.level <= told_) return std::nullopt;
  told_ = verdict_.level;
  return verdict_;
}

}  // namespace kurultai
