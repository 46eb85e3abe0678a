// Memory pressure as four thresholds on used/budget, each with hysteresis: one that fired clears only
// `hysteresis` lower (REQUIREMENTS K1), so a reading that trembles on the line acts once.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"

namespace kurultai {

enum class Threshold : unsigned char { skip_heartbeats, preempt, reject, kill };
inline constexpr std::size_t threshold_count = 4;
std::string_view to_string(Threshold threshold);

struct Thresholds {
  std::array<double, threshold_count> ratio = {0.70, 0.85, 0.90, 0.95};  // ascending, in (0, 1]
  double hysteresis = 0.10;
  double at(Threshold threshold) const { return ratio[static_cast<std::size_t>(threshold)]; }
};

/// used/budget, never negative. Of a budget of nothing anything used is all (1.0): the result stays a number.
double ratio_of(Bytes used, Bytes budget);

enum class Direction : unsigned char { up, down };

struct Crossing {
  Threshold threshold;
  Direction direction;
  double ratio;  // the reading that crossed
};

class Pressure {
 public:
  explicit Pressure(Thresholds thresholds) : thresholds_(thresholds) {}

  /// Takes a reading; returns what it crossed, in order: upwards from the lowest, downwards from the highest.
  /// A threshold fires at or above its ratio and clears at or below ratio - hysteresis (at the lowest 0);
  /// with a hysteresis of 0 below the ratio. A reading that is not a number changes nothing.
  std::vector<Crossing> update(double ratio);

  bool is_over(Threshold threshold) const { return over_[static_cast<std::size_t>(threshold)]; }
  int level() const;  // how many thresholds are over: 0…4
  double ratio() const { return ratio_; }
  const Thresholds& thresholds() const { return thresholds_; }

  /// Takes effect with the next reading; nothing is forgotten.
  void set_thresholds(Thresholds thresholds) { thresholds_ = thresholds; }

 private:
  bool clears(std::size_t index, double ratio) const;

  Thresholds thresholds_;
  std::array<bool, threshold_count> over_{};
  double ratio_ = 0;
};

}  // namespace kurultai
