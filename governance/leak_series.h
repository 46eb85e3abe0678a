// What the memory of one process did, in bounded room: at most 120 points however many readings there were,
// of all its life or of the newest part of it. A point keeps the least and the most of the readings it stands
// for: leaks show in the least, which is what a collection leaves. Pure; the owner gives the times.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <span>

namespace kurultai {

/// Rates are told by the hour, times are in seconds.
inline constexpr double seconds_per_hour = 3600;

/// One reading, or several that follow each other. Bytes are doubles: they are only compared and averaged.
struct LeakPoint {
  double first = 0;  // seconds
  double last = 0;
  double least = 0;  // bytes
  double most = 0;
};

class LeakSeries {
 public:
  static constexpr std::size_t most_points = 120;
  static constexpr double all_of_it = std::numeric_limits<double>::infinity();

  /// What is older than `longest` seconds is forgotten, a point at a time.
  LeakSeries() = default;
  explicit LeakSeries(double longest) : longest_(longest) {}

  /// Seconds on any clock. A reading that is no number, negative, beyond 10^18 or of the same moment as the
  /// one before is left out (false). Where the clock jumps, back or ahead by more than a hundred steps and
  /// all there was before, the series goes on after a usual step: what a clock does says nothing of the
  /// memory.
  bool add(double seconds, double bytes);

  std::span<const LeakPoint> points() const { return {points_.data(), size_}; }
  std::size_t readings() const { return readings_; }  // that were ever added
  double seconds() const { return size_ == 0 ? 0 : points_[size_ - 1].last - points_[0].first; }
  double latest() const { return latest_; }  // bytes; 0 without readings

 private:
  double usual_step() const;
  bool has_jumped(double pause) const;
  void append(double at, double bytes);
  void merge_neighbours();
  void forget_oldest();

  double longest_ = all_of_it;  // seconds
  std::array<LeakPoint, most_points> points_;
  std::size_t size_ = 0;
  std::size_t readings_ = 0;
  std::size_t readings_a_point_ = 1;
  std::size_t in_newest_ = 0;
  double time_ = 0;        // seconds from the first reading ever to the latest
  double since_jump_ = 0;  // what is added to the clock's seconds since it jumped
  double latest_ = 0;
};

}  // namespace kurultai
