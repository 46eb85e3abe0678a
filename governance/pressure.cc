#include "governance/pressure.h"

#include <algorithm>
#include <cmath>

namespace kurultai {
namespace {

// Rounding of `ratio - hysteresis` must not move the line; a byte of a terabyte is 1e-12.
constexpr double rounding = 1e-13;

constexpr std::array<std::string_view, threshold_count> names = {"skip_heartbeats", "preempt", "reject",
                                                                 "kill"};

}  // namespace

std::string_view to_string(Threshold threshold) { return names[static_cast<std::size_t>(threshold)]; }

double ratio_of(Bytes used, Bytes budget) {
  if (used.count <= 0) return 0;
  if (budget.count <= 0) return 1;
  return static_cast<double>(used.count) / static_cast<double>(budget.count);
}

bool Pressure::clears(std::size_t index, double ratio) const {
  const double fires_at = thresholds_.ratio[index];
  const double line = std::max(0.0, fires_at - thresholds_.hysteresis + rounding);
  return ratio < fires_at && ratio <= line;
}

std::vector<Crossing> Pressure::update(double ratio) {
  if (std::isnan(ratio)) return {};
  ratio_ = ratio;
  std::vector<Crossing> crossed;
  for (std::size_t i = 0; i < threshold_count; ++i) {
    if (over_[i] || ratio < thresholds_.ratio[i]) continue;
    over_[i] = true;
    crossed.push_back({static_cast<Threshold>(i), Direction::up, ratio});
  }
  for (std::size_t i = threshold_count; i-- > 0;) {
    if (!over_[i] || !clears(i, ratio)) continue;
    over_[i] = false;
    crossed.push_back({static_cast<Threshold>(i), Direction::down, ratio});
  }
  return crossed;
}

int Pressure::level() const { return static_cast<int>(std::ranges::count(over_, true)); }

}  // namespace kurultai
