#include "governance/policy_tally.h"

namespace kurultai {

std::string_view to_string(DeedKind kind) {
  static constexpr std::array<std::string_view, deed_kinds> names = {"end_idle", "suspend", "preempt", "room",
                                                                     "kill"};
  return names.at(static_cast<std::size_t>(kind));
}

void PolicyTally::note_reading(TimePoint at, Bytes used, Bytes budget) {
  for (std::size_t i = 0; i < threshold_count; ++i) {
    if (last_ && is_over_.at(i)) over.at(i) += at - *last_;
  }
  last_ = at;
  profile.note(at, used);
  const double ratio = ratio_of(used, budget);
  if (ratio <= peak_ratio) return;
  peak_ratio = ratio;
  peak_used = used;
  peak_at = at;
}

void PolicyTally::note_crossing(const Crossing& crossing) {
  const auto index = static_cast<std::size_t>(crossing.threshold);
  is_over_.at(index) = crossing.direction == Direction::up;
  if (crossing.direction == Direction::up) crossed_up.at(index) += 1;
  if (first_crossings.size() < most_listed)
    first_crossings.push_back({last_.value_or(TimePoint{}), crossing});
}

void PolicyTally::note(Deed deed) {
  deeds.at(static_cast<std::size_t>(deed.kind)) += 1;
  if (first_deeds.size() < most_listed) first_deeds.push_back(std::move(deed));
}

}  // namespace kurultai
