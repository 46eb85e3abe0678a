// What was used in the last minute, in steps of half a second: of each the most. For receipts.
#pragma once

#include <chrono>
#include <deque>
#include <vector>

#include "governance/receipt.h"

namespace kurultai {

class MemoryCurve {
 public:
  void note(TimePoint now, Bytes used) {
    if (!points_.empty() && now - points_.back().at < step) {
      points_.back().used = std::max(points_.back().used, used);
    } else {
      points_.push_back({now, used});
    }
    while (now - points_.front().at > span) points_.pop_front();
  }
  std::vector<UsedAt> points() const { return {points_.begin(), points_.end()}; }

 private:
  static constexpr Duration step{500};
  static constexpr Duration span{60000};
  std::deque<UsedAt> points_;
};

}  // namespace kurultai
