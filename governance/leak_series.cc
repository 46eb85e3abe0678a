#include "governance/leak_series.h"

#include <algorithm>
#include <cmath>

namespace kurultai {
namespace {

constexpr double largest = 1e18;         // of seconds and bytes: beyond it doubles no longer count
constexpr double longest_pause = 100.0;  // of a sampler, in usual steps

bool is_reading(double value) { return std::isfinite(value) && std::abs(value) <= largest; }

void take_in(LeakPoint& point, const LeakPoint& later) {
  point.last = later.last;
  point.least = std::min(point.least, later.least);
  point.most = std::max(point.most, later.most);
}

}  // namespace

double LeakSeries::usual_step() const {
  return readings_ < 2 ? 1.0 : time_ / static_cast<double>(readings_ - 1);
}

bool LeakSeries::has_jumped(double pause) const {
  return pause < 0 || (readings_ > 1 && pause > longest_pause * usual_step() && pause > time_);
}

void LeakSeries::merge_neighbours() {
  for (std::size_t i = 0; i < most_points / 2; ++i) {
    points_[i] = points_[2 * i];
    take_in(points_[i], points_[2 * i + 1]);
  }
  size_ = most_points / 2;
  readings_a_point_ *= 2;
}

void LeakSeries::forget_oldest() {
  std::shift_left(points_.begin(), points_.end(), 1);
  --size_;
}

void LeakSeries::append(double at, double bytes) {
  while (size_ > 0 && at - points_[0].last > longest_) forget_oldest();
  const LeakPoint reading{at, at, bytes, bytes};
  if (size_ > 0 && in_newest_ < readings_a_point_) {
    take_in(points_[size_ - 1], reading);
    ++in_newest_;
    return;
  }
  if (size_ == most_points) merge_neighbours();
  points_[size_++] = reading;
  in_newest_ = 1;
}

bool LeakSeries::add(double seconds, double bytes) {
  if (!is_reading(seconds) || !is_reading(bytes) || bytes < 0) return false;
  double at = seconds + since_jump_;
  if (size_ > 0) {
    const double newest = points_[size_ - 1].last;
    if (at == newest) return false;
    if (has_jumped(at - newest)) {
      at = newest + usual_step();
      since_jump_ = at - seconds;
    }
    time_ += at - newest;
  }
  append(at, bytes);
  ++readings_;
  latest_ = bytes;
  return true;
}

}  // namespace kurultai
