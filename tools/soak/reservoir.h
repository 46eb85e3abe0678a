// A sample of many values in bounded room, for runs of days: exact until there are more than `room`, then an
// even choice of all that came.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tools/bench/child.h"
#include "tools/bench/dice.h"

namespace kurultai::soak {

class Reservoir {
 public:
  static constexpr std::size_t room = 20'000;

  void add(double value) {
    most_ = count_ == 0 ? value : std::max(most_, value);
    ++count_;
    if (kept_.size() < room) return kept_.push_back(value);
    const std::uint64_t place = dice_.number() % count_;
    if (place < room) kept_[place] = value;
  }

  std::uint64_t count() const { return count_; }
  double most() const { return most_; }  // 0 without values
  double percentile(double share) const { return bench::percentile(kept_, share); }

 private:
  std::vector<double> kept_;
  std::uint64_t count_ = 0;
  double most_ = 0;
  bench::Dice dice_{1};
};

}  // namespace kurultai::soak
