#include "governance/wait_estimate.h"

#include <algorithm>
#include <cmath>

namespace kurultai {
namespace {

constexpr double weight = 1.0 / 8;
constexpr double longest_s = 3600;

}  // namespace

void WaitEstimate::finished(Duration run) {
  const double ms = std::max(0.0, static_cast<double>(run.count()));
  mean_ms_ = any_ ? mean_ms_ + (ms - mean_ms_) * weight : ms;
  any_ = true;
}

std::chrono::seconds WaitEstimate::retry_after(std::size_t ahead, int slots) const {
  const double expected_s = mean_ms_ * static_cast<double>(ahead) / std::max(slots, 1) / 1000;
  return std::chrono::seconds(static_cast<int>(std::clamp(std::ceil(expected_s), 1.0, longest_s)));
}

}  // namespace kurultai
