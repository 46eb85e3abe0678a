#include "governance/leak_verdict.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "governance/leak_envelope.h"
#include "governance/leak_teeth.h"

namespace kurultai {
namespace {

constexpr std::size_t fewest_readings = 12;
constexpr double fewest_seconds = 5;
// Readings are in pages of 4 KiB, and a dozen that come and go are no growth.
constexpr double least_rise = 64.0 * 1024;
// The parts of the time by which growth is judged: a ramp may have begun late, and what comes in stairs takes
// longer to be told from a step.
constexpr std::array<double, 3> tails = {1.0 / 3, 1.0 / 2, 2.0 / 3};
constexpr int quarters = 4;
// The first may lie before a late ramp.
constexpr int fewest_growing = quarters - 1;
// A quiet end of less than this share of all time is too short to tell.
constexpr double shortest_quiet = 0.05;
// Rises of less than this share of the whole are part of the quiet.
constexpr double negligible = 0.02;

/// The end of an envelope, since a moment.
struct Tail {
  const LeakEnvelope& envelope;
  double from;
  double seconds = envelope.end() - from;
  double rise = envelope.rise(from);
  double slope = envelope.slope(from);
};

/// A shape with the distance from its border: 0 to 1.
struct Finding {
  LeakShape shape = LeakShape::growing;
  double margin = 0;
};

double unit(double value) { return std::clamp(value, 0.0, 1.0); }

std::optional<Finding> steady(const Tail& tail, const LeakRules& rules) {
  const double per_hour = tail.rise / tail.seconds * seconds_per_hour;
  if (tail.rise >= least_rise && per_hour >= rules.warning_per_hour) return std::nullopt;
  return Finding{LeakShape::steady, unit(1 - per_hour / rules.warning_per_hour)};
}

std::optional<Finding> stepped(const Tail& tail, const LeakRules& rules) {
  const double length = tail.seconds / quarters;
  int growing = 0;
  for (int i = 0; i < quarters; ++i) {
    const double begin = tail.from + length * i;
    const double grown = tail.envelope.kept(begin + length) - tail.envelope.kept(begin);
    if (grown >= rules.spread * tail.rise / quarters) ++growing;
  }
  const bool is_slow = tail.slope * seconds_per_hour < rules.warning_per_hour;
  if (growing >= fewest_growing && !is_slow) return std::nullopt;
  return Finding{LeakShape::stepped, unit(1 - static_cast<double>(growing) / quarters)};
}

/// Quiet for longer at the end than ever between two rises.
std::optional<Finding> settled(const Tail& tail, const LeakRules& rules) {
  const auto points = tail.envelope.points();
  double level = tail.envelope.kept(tail.from);
  double newest = tail.from;
  double longest = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double kept = tail.envelope.kept_of(i);
    if (points[i].first <= tail.from || kept - level < negligible * tail.rise) continue;
    longest = std::max(longest, points[i].first - newest);
    newest = points[i].first;
    level = kept;
  }
  const double allowed = std::max(rules.quiet_factor * longest, shortest_quiet * tail.envelope.seconds());
  const double quiet = tail.envelope.end() - newest;
  if (quiet <= allowed) return std::nullopt;
  return Finding{LeakShape::settled, unit(1 - allowed / quiet)};
}

/// Whether growth fell below `ratio` of the time before, twice: in the last parts of `share`. The part before
/// them counts half, because it may reach to the start, where everything grows.
bool fades(const LeakEnvelope& envelope, double share, double ratio) {
  const auto kept = [&envelope, share](double parts) { return envelope.kept(envelope.last(share * parts)); };
  const double newest = kept(0) - kept(1);
  const double middle = kept(1) - kept(2);
  const double oldest = 2 * (kept(2) - kept(2.5));
  return newest < ratio * middle && middle < ratio * oldest;
}

/// By sixths, and by thirds for what fades slowly; these are twice as long and so fade by the square.
std::optional<Finding> fading(const Tail& tail, const LeakRules& rules) {
  const double ratio = rules.fading_ratio;
  const bool is_fading = fades(tail.envelope, 1.0 / 6, ratio) || fades(tail.envelope, 1.0 / 3, ratio * ratio);
  return is_fading ? std::optional(Finding{LeakShape::fading, 0.5}) : std::nullopt;
}

std::optional<Finding> oscillating(const Tail& tail, const LeakRules& rules) {
  const double given_back =
      largest_tooth(tail.envelope.points(), rules.tooth_ratio * tail.rise, tail.seconds);
  if (given_back <= 0) return std::nullopt;
  return Finding{LeakShape::oscillating, unit(1 - rules.tooth_ratio * tail.rise / given_back)};
}

/// How far a rise is from the border rate, from a single step, and from the noise it stands in.
double growing_margin(const Tail& tail, const LeakRules& rules) {
  const double rate = 1 - rules.warning_per_hour / (tail.slope * seconds_per_hour);
  double farthest = 0;  // from the straight line
  double teeth = 0;
  for (std::size_t i = 0; i < tail.envelope.points().size(); ++i) {
    const LeakPoint& point = tail.envelope.points()[i];
    if (point.first < tail.from) continue;
    const double line = tail.envelope.kept(tail.from) + tail.rise * (point.first - tail.from) / tail.seconds;
    farthest = std::max(farthest, std::abs(tail.envelope.kept_of(i) - line));
    teeth = std::max(teeth, point.most - tail.envelope.kept_of(i));
  }
  const double straight = 1 - 2 * farthest / tail.rise;
  const double clear = tail.rise / (tail.rise + teeth);
  return (unit(rate) + unit(straight) + unit(clear)) / 3;
}

Finding find(const Tail& tail, const LeakRules& rules) {
  for (const auto test : {steady, settled, stepped, fading, oscillating}) {
    if (const auto against = test(tail, rules)) return *against;
  }
  return {LeakShape::growing, growing_margin(tail, rules)};
}

LeakLevel mark_of(double bytes, const LeakRules& rules) {
  if (bytes >= static_cast<double>(rules.critical_mark.count)) return LeakLevel::critical;
  return bytes >= static_cast<double>(rules.warning_mark.count) ? LeakLevel::warning : LeakLevel::none;
}

LeakLevel level_of(const LeakVerdict& verdict, const LeakRules& rules) {
  if (verdict.shape != LeakShape::growing) return LeakLevel::none;
  const bool is_critical =
      verdict.growth_per_hour >= rules.critical_per_hour || verdict.mark == LeakLevel::critical;
  return is_critical ? LeakLevel::critical : LeakLevel::warning;
}

}  // namespace

double leak_growth(const LeakVerdict& verdict) {
  return verdict.level == LeakLevel::none ? 0 : verdict.growth_per_hour;
}

LeakVerdict judge_leak(const LeakSeries& series, const LeakRules& rules) {
  LeakVerdict verdict;
  verdict.mark = mark_of(series.latest(), rules);
  if (series.readings() < fewest_readings || series.seconds() < fewest_seconds) return verdict;
  const LeakEnvelope envelope(series.points());
  for (const double share : tails) {
    const Tail tail{envelope, envelope.last(share)};
    const Finding finding = find(tail, rules);
    const bool is_growing = finding.shape == LeakShape::growing;
    if (share == tails.front() || is_growing) {
      verdict.shape = finding.shape;
      verdict.confidence = (1 + finding.margin) / 2;
      verdict.growth_per_hour = tail.slope * seconds_per_hour;
    }
    if (is_growing) break;
  }
  verdict.level = level_of(verdict, rules);
  if (verdict.level != LeakLevel::none && rules.cap.count > 0) {
    const double room = std::max(static_cast<double>(rules.cap.count) - series.latest(), 0.0);
    verdict.seconds_to_cap = room / verdict.growth_per_hour * seconds_per_hour;
  }
  return verdict;
}

std::string_view to_string(LeakLevel level) {
  switch (level) {
    case LeakLevel::none:
      return "none";
    case LeakLevel::warning:
      return "warning";
    case LeakLevel::critical:
      return "critical";
  }
  return "";
}

std::string_view to_string(LeakShape shape) {
  switch (shape) {
    case LeakShape::too_short:
      return "too_short";
    case LeakShape::steady:
      return "steady";
    case LeakShape::stepped:
      return "stepped";
    case LeakShape::settled:
      return "settled";
    case LeakShape::fading:
      return "fading";
    case LeakShape::oscillating:
      return "oscillating";
    case LeakShape::growing:
      return "growing";
  }
  return "";
}

}  // namespace kurultai
