#include "governance/leak_slope.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace kurultai {
namespace {

constexpr std::size_t fewest_points = 10;
constexpr double normal_95 = 1.959964;

double time_of(const LeakPoint& point) { return (point.first + point.last) / 2; }

/// Of the values without the trend: what a point tells of the one `lag` later, from -1 to 1.
double autocorrelation(std::span<const double> rest, std::size_t lag) {
  double product = 0;
  double square = 0;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    square += rest[i] * rest[i];
    if (i + lag < rest.size()) product += rest[i] * rest[i + lag];
  }
  return square > 0 ? product / square : 0;
}

/// How many times fewer independent points there are than points; at least 1. Only the lags before the first
/// that is not positive count: the sum over all of them is small, whatever the series.
double dependence(std::span<const double> rest) {
  const auto count = static_cast<double>(rest.size());
  double factor = 1;
  for (std::size_t lag = 1; lag < rest.size() / 2; ++lag) {
    const double shared = autocorrelation(rest, lag);
    if (shared <= 0) break;
    factor += 2 * (1 - static_cast<double>(lag) / count) * shared;
  }
  return factor;
}

std::vector<double> without_trend(std::span<const LeakPoint> points, double slope) {
  std::vector<double> rest;
  double sum = 0;
  for (const LeakPoint& point : points) {
    rest.push_back(point.least - slope * time_of(point));
    sum += rest.back();
  }
  for (double& value : rest) value -= sum / static_cast<double>(rest.size());
  return rest;
}

}  // namespace

LeakSlope slope_of(std::span<const LeakPoint> points) {
  if (points.size() < fewest_points) return {};
  std::vector<double> slopes;
  for (std::size_t i = 0; i < points.size(); ++i) {
    for (std::size_t j = i + 1; j < points.size(); ++j) {
      const double seconds = time_of(points[j]) - time_of(points[i]);
      if (seconds > 0) slopes.push_back((points[j].least - points[i].least) / seconds);
    }
  }
  if (slopes.empty()) return {};
  std::ranges::sort(slopes);
  const double median = slopes[slopes.size() / 2];
  const auto n = static_cast<double>(points.size());
  const double variance = n * (n - 1) * (2 * n + 5) / 18 * dependence(without_trend(points, median));
  const double reach = normal_95 * std::sqrt(variance);
  const auto pairs = static_cast<double>(slopes.size());
  const auto at = [&](double rank) {
    return slopes[static_cast<std::size_t>(std::clamp(rank, 0.0, pairs - 1))] * seconds_per_hour;
  };
  return {.per_hour = median * seconds_per_hour,
          .low = at(std::floor((pairs - reach) / 2)),
          .high = at(std::ceil((pairs + reach) / 2)),
          .seconds = points.back().last - points.front().first};
}

}  // namespace kurultai
