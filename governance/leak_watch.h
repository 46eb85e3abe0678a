// One process watched for a leak: which of its readings count, what they amount to, and when that is news.
// Looks are far apart, and six times closer while what is used grows faster than it may. Pure; the owner
// gives the times.
#pragma once

#include <optional>

#include "governance/leak_series.h"
#include "governance/leak_verdict.h"
#include "protocol/duration.h"

namespace kurultai {

class LeakWatch {
 public:
  /// While it grows, looks are so many times closer.
  static constexpr int haste = 6;

  /// A reading; most are passed over. `usual`: between two looks. The verdict, when it has become worse than
  /// was told before.
  std::optional<LeakVerdict> note(TimePoint now, Duration usual, Bytes memory, Bytes cap);

  const LeakVerdict& verdict() const { return verdict_; }

 private:
  bool is_due(TimePoint now, Duration usual) const;

  LeakSeries series_;
  LeakVerdict verdict_;
  LeakLevel told_ = LeakLevel::none;
  std::optional<TimePoint> first_, last_;
  bool speeds_up_ = false;
};

}  // namespace kurultai
