// How fast the memory of a process grows over a whole series, and how sure that is: for a report on hours of
// work, where judge_leak's level says too little. Pure.
#pragma once

#include <span>

#include "governance/leak_series.h"

namespace kurultai {

/// Bytes an hour.
struct LeakSlope {
  double per_hour = 0;
  double low = 0;  // 95 % confidence
  double high = 0;
  double seconds = 0;  // that were judged; 0: fewer than ten points, and nothing can be said
};

/// The median of the slopes between all pairs of points (Theil and Sen), taken from the least of each point,
/// which is what was kept. The interval is Sen's (1968), with the variance of Kendall's score enlarged for
/// points that follow their neighbours (Yue and Wang 2004): memory that wanders is no evidence of growth.
LeakSlope slope_of(std::span<const LeakPoint> points);

}  // namespace kurultai
