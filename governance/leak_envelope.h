// What of its memory a process has kept: for each moment the least that was read then or later. The sawtooth
// of a collector has a flat envelope however high its teeth, a spike leaves none, and a leak beneath them
// rises. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "governance/leak_series.h"

namespace kurultai {

/// Of a series with points, which has to outlive it.
class LeakEnvelope {
 public:
  explicit LeakEnvelope(std::span<const LeakPoint> points);

  std::span<const LeakPoint> points() const { return points_; }
  double end() const { return points_.back().last; }
  double seconds() const { return end() - points_.front().first; }
  /// The moment from which on `share` of the time passed.
  double last(double share) const { return end() - share * seconds(); }

  double kept_of(std::size_t point) const { return kept_[point]; }
  /// Bytes that were kept at a moment; never falls with time.
  double kept(double at) const;
  double kept() const { return kept_[points_.size() - 1]; }
  double rise(double from) const { return kept() - kept(from); }

  /// Bytes a second since `from`: the median of the slopes between all pairs of nine moments (Theil and Sen),
  /// of which a single step moves few.
  double slope(double from) const;

 private:
  std::size_t point_at(double at) const;

  std::span<const LeakPoint> points_;
  std::array<double, LeakSeries::most_points> kept_{};
};

}  // namespace kurultai
