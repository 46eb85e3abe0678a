#include "governance/leak_teeth.h"

#include <algorithm>

namespace kurultai {
namespace {

// Between these shares of its height a rise is timed: what jumps up passes them at once, however long it
// waited.
constexpr double low_share = 0.2;
constexpr double high_share = 0.8;
// Of a given time, for a rise to be gradual: a straight one spends 0.6 of its time between the two.
constexpr double shortest_rise = 0.2;
// A fall that goes far below where the rise began had another cause, such as the end of a process of the
// tree.
constexpr double deepest_fall = 2;

/// Follows the lower side of the memory up and down, turning where it has moved by `least` against the way it
/// went.
class ToothSearch {
 public:
  ToothSearch(std::span<const LeakPoint> points, double least, double seconds)
      : points_(points), least_(least), shortest_(shortest_rise * seconds) {}

  double largest() {
    for (std::size_t i = 0; i < points_.size(); ++i) {
      if (rising_) {
        follow_up(i);
      } else {
        follow_down(i);
      }
    }
    end_fall();
    return largest_;
  }

 private:
  double level(std::size_t point) const { return points_[point].least; }

  void follow_up(std::size_t i) {
    if (level(i) > level(top_)) top_ = i;
    if (level(top_) - level(foot_) < least_ && level(i) <= level(foot_)) top_ = foot_ = i;
    if (level(top_) - level(i) < least_) return;
    rising_ = false;
    bottom_ = i;
  }

  void follow_down(std::size_t i) {
    if (level(i) < level(bottom_)) bottom_ = i;
    if (level(i) - level(bottom_) < least_) return;
    end_fall();
    rising_ = true;
    foot_ = bottom_;
    top_ = i;
  }

  void end_fall() {
    if (rising_) return;
    const double rise = level(top_) - level(foot_);
    const double fall = level(top_) - level(bottom_);
    if (rise >= least_ && fall <= deepest_fall * rise && is_gradual(rise))
      largest_ = std::max(largest_, fall);
  }

  bool is_gradual(double rise) const {
    std::size_t low = foot_;
    for (std::size_t i = foot_; i <= top_; ++i) {
      if (level(i) <= level(foot_) + low_share * rise) low = i;
    }
    std::size_t high = low;
    while (level(high) < level(foot_) + high_share * rise) ++high;
    return points_[high].first - points_[low].first >= shortest_;
  }

  std::span<const LeakPoint> points_;
  double least_, shortest_;
  std::size_t foot_ = 0, top_ = 0, bottom_ = 0;  // of the rise, and of the fall behind it
  double largest_ = 0;
  bool rising_ = true;
};

}  // namespace

double largest_tooth(std::span<const LeakPoint> points, double least, double seconds) {
  return points.empty() ? 0 : ToothSearch(points, least, seconds).largest();
}

}  // namespace kurultai
