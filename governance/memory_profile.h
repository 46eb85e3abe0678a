// What was used over a time of any length, in a bounded number of equal steps: of each the most. Pure. When
// the steps run out two become one.
#pragma once

#include <vector>

#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

class MemoryProfile {
 public:
  static constexpr std::size_t most_steps = 1024;

  /// Moments from TimePoint{} on; none is before an earlier one.
  void note(TimePoint at, Bytes used);

  /// The most used in each of `columns` equal parts of the time until the last reading. A part without a
  /// reading has what the one before it ended with; empty before the first reading.
  std::vector<Bytes> columns(std::size_t columns) const;
  TimePoint::duration length() const { return length_; }

 private:
  static constexpr Bytes nothing{-1};

  void halve();

  std::vector<Bytes> steps_;
  TimePoint::duration step_ = std::chrono::milliseconds(1);
  TimePoint::duration length_{};
};

}  // namespace kurultai
