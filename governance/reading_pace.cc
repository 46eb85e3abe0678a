#include "governance/reading_pace.h"

#include <algorithm>

namespace kurultai {
namespace {

constexpr Duration close_pace{10};
constexpr Duration watchful_pace{50};
constexpr double near_share = 0.25;

// Usage above the lowest mark less hysteresis: from here on events may stay away. Swap can lift `used` above
// `raw`.
bool is_above_lowest_mark(const PaceInput& input, const Thresholds& thresholds) {
  const double line = thresholds.ratio.front() - thresholds.hysteresis;
  return ratio_of(std::max(input.raw, input.used), input.budget) >= line;
}

bool is_near(const PaceInput& input, const Thresholds& thresholds) {
  return ratio_of(input.used, input.budget) >= thresholds.ratio.front() - near_share;
}

}  // namespace

Duration next_reading_in(const PaceInput& input, const Thresholds& thresholds) {
  if (input.kernel_events && !is_above_lowest_mark(input, thresholds)) return input.slow_tick;
  if (is_near(input, thresholds)) return std::min(close_pace, input.slow_tick);
  const bool watchful = input.kernel_events || input.any_worker;
  return watchful ? std::min(watchful_pace, input.slow_tick) : input.slow_tick;
}

}  // namespace kurultai
