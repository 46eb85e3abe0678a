#include "governance/restart_budget.h"

#include <algorithm>
#include <cstddef>

namespace kurultai {
namespace {

constexpr std::chrono::hours hour(1);
constexpr std::chrono::seconds longest_pause(60);
constexpr int doublings = 6;  // 2^6 s is past the longest pause

std::chrono::seconds pause_after(int ends_in_a_row) {
  if (ends_in_a_row == 0) return std::chrono::seconds(0);
  return std::min(longest_pause, std::chrono::seconds(1 << std::min(ends_in_a_row - 1, doublings)));
}

}  // namespace

void RestartBudget::abnormal_end(TimePoint now) {
  ends_.push_back(ends_.empty() ? now : std::max(now, ends_.back()));
  keep_newest();
  row_ = std::min(row_ + 1, doublings + 1);
}

TimePoint RestartBudget::ready_at(TimePoint now) const {
  if (ends_.empty()) return now;
  const TimePoint after_pause = ends_.back() + pause_after(row_);
  return exhausted(now) ? std::max(after_pause, ends_.front() + hour) : after_pause;
}

// Every end allows one restart, so it is the end past the budget, the oldest that is kept, that has to grow
// old.
bool RestartBudget::exhausted(TimePoint now) const {
  return ends_.size() > static_cast<std::size_t>(max_per_hour_) && now - ends_.front() < hour;
}

void RestartBudget::set_max_per_hour(int max) {
  max_per_hour_ = std::max(max, 0);
  keep_newest();
}

void RestartBudget::keep_newest() {
  while (ends_.size() > static_cast<std::size_t>(max_per_hour_) + 1) ends_.pop_front();
}

}  // namespace kurultai
