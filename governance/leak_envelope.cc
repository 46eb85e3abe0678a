#include "governance/leak_envelope.h"

#include <algorithm>

namespace kurultai {
namespace {

constexpr std::size_t moments = 9;
constexpr std::size_t pairs = moments * (moments - 1) / 2;

}  // namespace

LeakEnvelope::LeakEnvelope(std::span<const LeakPoint> points) : points_(points) {
  double least = points.back().least;
  for (std::size_t i = points.size(); i-- > 0;) {
    least = std::min(least, points[i].least);
    kept_[i] = least;
  }
}

/// The last that began by then.
std::size_t LeakEnvelope::point_at(double at) const {
  const auto after = std::ranges::upper_bound(points_, at, {}, &LeakPoint::first);
  return after == points_.begin() ? 0 : static_cast<std::size_t>(after - points_.begin()) - 1;
}

double LeakEnvelope::kept(double at) const { return kept_[point_at(at)]; }

double LeakEnvelope::slope(double from) const {
  const double step = (end() - from) / static_cast<double>(moments - 1);
  std::array<std::size_t, moments> at{};
  for (std::size_t i = 0; i < moments; ++i) at[i] = point_at(from + step * static_cast<double>(i));
  std::array<double, pairs> slopes{};
  std::size_t count = 0;
  for (std::size_t i = 0; i < moments; ++i) {
    for (std::size_t j = i + 1; j < moments; ++j) {
      const double seconds = points_[at[j]].first - points_[at[i]].first;
      if (seconds > 0) slopes[count++] = (kept_[at[j]] - kept_[at[i]]) / seconds;
    }
  }
  if (count == 0) return 0;
  const std::span<double> found(slopes.data(), count);
  const auto median = found.begin() + static_cast<std::ptrdiff_t>(count / 2);
  std::ranges::nth_element(found, median);
  return *median;
}

}  // namespace kurultai
