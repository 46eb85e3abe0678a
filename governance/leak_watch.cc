#include "governance/leak_watch.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace kurultai {

namespace {

// Of a window, for which a leak has to be seen to be believed, or not to be.
constexpr double lasting_share = 1.0 / 3;
constexpr double agreement = 0.8;  // of the looks in that time
constexpr double never = std::numeric_limits<double>::infinity();

double seconds_of(TimePoint::duration time) { return std::chrono::duration<double>(time).count(); }

/// Whether this step alone is steeper than what is a leak when it goes on.
bool is_steep(Bytes rise, double seconds, const LeakRules& rules) {
  return static_cast<double>(rise.count) / seconds * seconds_per_hour >= rules.warning_per_hour;
}

/// The most that was kept before a time; 0 when nothing was.
double most_kept_before(const LeakSeries& series, double seconds) {
  double most = 0;
  for (const LeakPoint& point : series.points()) {
    if (point.last >= seconds) break;
    most = std::max(most, point.least);
  }
  return most;
}

}  // namespace

void LastingSign::note(double seconds, bool seen, double needed) {
  const bool is_opposite = seen != holds_;
  if (looks_ == 0) {
    if (!is_opposite) return;
    since_ = seconds;
    opposite_ = 0;
  }
  ++looks_;
  if (is_opposite) ++opposite_;
  if (opposite_ < agreement * looks_) {
    looks_ = 0;
  } else if (is_opposite && seconds - since_ >= needed) {
    holds_ = seen;
    looks_ = 0;
  }
}

void LeakWindow::judge(double now, const LeakRules& rules, double shortest, double before) {
  const bool is_higher = series_.points().back().least > before;
  const LeakVerdict found = is_higher ? judge_leak(series_, rules) : LeakVerdict{};
  const bool is_leak = found.level != LeakLevel::none;
  const double watched = series_.seconds();
  const bool can_wait = found.seconds_to_cap.value_or(shortest) > shortest - watched;
  const bool is_early = is_leak && watched < shortest && can_wait;
  sign_.note(now, is_leak, is_early ? never : lasting_share * watched);
  if (is_leak || !sign_.holds()) verdict_ = found;
}

bool LeakWatch::is_due(TimePoint now, Duration usual) const {
  return !last_ || now - *last_ >= (speeds_up_ ? usual / haste : usual);
}

void LeakWatch::judge(double now, const LeakRules& rules, double shortest) {
  LeakWindow& life = windows_.front();
  const LeakWindow* leaking = nullptr;  // the first in which a leak is believed
  for (LeakWindow& window : windows_) {
    const double before = most_kept_before(life.series(), window.series().points().front().first);
    const bool is_part = before > 0;  // else it is all of life, too
    if (leaking != nullptr) {
      window.rest();
    } else if (&window == &life || is_part) {
      window.judge(now, rules, shortest, before);
    }
    if (leaking == nullptr && window.leaks()) leaking = &window;
  }
  verdict_ = (leaking != nullptr ? *leaking : life).verdict();
  if (leaking == nullptr) verdict_.level = LeakLevel::none;
}

LeakNews LeakWatch::news() {
  const LeakNews news{.is_worse = verdict_.level > told_, .is_at_mark = verdict_.mark > told_mark_};
  told_ = verdict_.level == LeakLevel::none ? LeakLevel::none : std::max(told_, verdict_.level);
  told_mark_ = std::max(told_mark_, verdict_.mark);
  return news;
}

LeakNews LeakWatch::note(TimePoint now, Duration usual, Bytes memory, Bytes cap) {
  if (!is_due(now, usual)) return {};
  LeakRules rules;
  rules.cap = cap;
  if (!first_) first_ = now;
  const double seconds = seconds_of(now - *first_);
  const LeakSeries& life = windows_.front().series();
  const Bytes before{static_cast<std::int64_t>(life.latest())};
  const bool is_first = life.readings() == 0;
  bool is_taken = false;
  for (LeakWindow& window : windows_) is_taken = window.add(seconds, static_cast<double>(memory.count));
  if (!is_taken) return {};
  speeds_up_ = !is_first && is_steep(memory - before, seconds_of(now - *last_), rules);
  last_ = now;
  judge(seconds, rules, fewest_intervals * seconds_of(usual));
  return news();
}

}  // namespace kurultai
