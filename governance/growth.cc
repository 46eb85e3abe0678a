#include "governance/growth.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace kurultai {
namespace {

constexpr Duration slot{400};  // the shortest span's quarter
constexpr Duration longest_gap{60'000};
constexpr Bytes noise = mebibytes(4);

// Chosen on the recordings in tests/leaks (tests/exhaustion).
constexpr double evenness = 0.7;  // no quarter of a span grows slower than this share of the whole

constexpr double stalled = 0.35;  // of what growth would have brought within a slot

double seconds_of(TimePoint::duration time) { return std::chrono::duration<double>(time).count(); }

Duration quarter_of(std::size_t span) { return slot * (1 << span); }

}  // namespace

void GrowthWatch::note(TimePoint now, Bytes memory) {
  if (began_ && (now < newest_ || now - newest_ > longest_gap)) *this = GrowthWatch{};
  newest_ = now;
  latest_ = memory;
  if (!began_) {
    began_ = true;
    slot_ = now;
    first_ = least_ = before_ = memory;
    return;
  }
  look_for_end();
  if (now - slot_ < slot) {
    least_ = std::min(least_, memory);
    return;
  }
  close_slot();
  slot_ = now;
  first_ = least_ = memory;
}

void GrowthWatch::close_slot() {
  high_ = std::max(high_, std::min(before_, least_));
  before_ = least_;
  held_at_ = slot_;
  add_points(slot_);
  growth_ = longest_even();
}

void GrowthWatch::add_points(TimePoint at) {
  constexpr double early = 0.9;  // readings are never quite on time
  for (std::size_t i = 0; i < spans; ++i) {
    Span& span = spans_[i];
    if (span.size > 0 && at - span.points[span.size - 1].at < quarter_of(i) * early) continue;
    if (span.size == most_points) {
      std::shift_left(span.points.begin(), span.points.end(), 1);
      span.size -= 1;
    }
    span.points[span.size++] = {at, high_};
  }
}

/// Over the newest `count` points of a span. Nothing where they are too few, or too far apart, to say.
std::optional<Growth> GrowthWatch::growth_over(std::size_t index, std::size_t count) const {
  constexpr double widest = 2.5;  // quarters that are longer say nothing of how even it was
  const Span& span = spans_[index];
  if (span.size < count) return std::nullopt;
  const auto points = std::span(span.points).subspan(span.size - count, count);
  const auto rate = [](const Point& from, const Point& to) {
    return static_cast<double>((to.held - from.held).count) / seconds_of(to.at - from.at);
  };
  const double whole = rate(points.front(), points.back());
  double slowest = whole;
  double last = whole;  // the two newest pieces
  for (std::size_t i = 1; i < count; ++i) {
    if (points[i].at - points[i - 1].at > quarter_of(index) * widest) return std::nullopt;
    last = rate(points[i - 1], points[i]);
    slowest = std::min(slowest, last);
  }
  if (held_at_ - points.back().at >= quarter_of(index) / 2) {
    const double since = rate(points.back(), {held_at_, high_});
    slowest = std::min(slowest, since);
    last = std::min(last, since);
  }
  if (whole <= 0 || slowest < evenness * whole) return Growth{};
  return Growth{{std::llround(std::min(whole, last))},
                std::chrono::duration_cast<Duration>(points.back().at - points.front().at)};
}

Growth GrowthWatch::longest_even() const {
  Growth longest;
  for (std::size_t i = 0; i < spans; ++i) {
    const auto whole = growth_over(i, most_points);
    const bool is_uneven = whole && whole->lasted <= Duration(0);
    const auto found = whole && !is_uneven ? whole : growth_over(i, most_points - 1);
    if (found && found->lasted > Duration(0)) longest = *found;
    if (is_uneven) break;
  }
  return longest;
}

/// What is held is known a slot late. Within the present one growth goes on, or it has come to its end.
void GrowthWatch::look_for_end() {
  constexpr Duration soon = slot / 2;
  if (newest_ - slot_ < soon) return;
  const double expected = seconds_of(newest_ - slot_) * static_cast<double>(growth_.per_second.count);
  ended_ = static_cast<double>((latest_ - first_).count) < stalled * expected;
}

Growth GrowthWatch::growth() const {
  if (growth_.lasted <= Duration(0) || ended_) return {};
  // It grew on since, and what is held is one look behind; half as much again would be another growth.
  const double since = 3 * seconds_of(newest_ - held_at_) * static_cast<double>(growth_.per_second.count);
  return static_cast<double>((latest_ - high_ - noise).count) > since ? Growth{} : growth_;
}

}  // namespace kurultai
