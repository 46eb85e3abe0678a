// How fast one process tree grows, and for how long it has done so evenly: what a prediction may build on.
// Pure; the owner gives the times. Steps, spikes, teeth of a collector and a start that comes to rest are no
// growth.
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

struct Growth {
  Bytes per_second{};  // never negative
  Duration lasted{};   // it has been as even as that for so long; 0: it does not grow, or not evenly
};

/// Less than a kilobyte, whatever comes. Growth counts only beyond the most that was ever held, and what is
/// held is the least of about a second: a collector's teeth have been that high before, a child in vfork is
/// gone again. It is looked at over the newest 1.6 s, 3.2 s … 102 s, and over three quarters of each: the
/// longest counts that is even and of which the shorter ones are.
class GrowthWatch {
 public:
  /// Readings may come as they like. Where the clock goes back, or stood for more than a minute, it begins
  /// anew.
  void note(TimePoint now, Bytes memory);
  /// None while the newest reading is higher than growth explains: that is a step, and says nothing of what
  /// comes.
  Growth growth() const;

 private:
  static constexpr std::size_t spans = 7;
  static constexpr std::size_t most_points = 5;

  struct Point {
    TimePoint at;
    Bytes held;
  };
  struct Span {
    std::array<Point, most_points> points;  // oldest first
    std::size_t size = 0;
  };

  void close_slot();
  void add_points(TimePoint at);
  std::optional<Growth> growth_over(std::size_t index, std::size_t count) const;
  Growth longest_even() const;
  void look_for_end();

  bool began_ = false;
  TimePoint slot_;  // when it began
  TimePoint newest_;
  Bytes first_;  // of the present slot
  Bytes least_;
  Bytes before_;  // and of the one before
  Bytes latest_;
  Bytes high_;         // the most that was held
  TimePoint held_at_;  // when that was found
  std::array<Span, spans> spans_;
  Growth growth_;
  bool ended_ = false;  // it did, within the present slot or the one before
};

}  // namespace kurultai
