#include "supervisor/health.h"

#include <algorithm>
#include <utility>

namespace kurultai {

void Health::note(std::string_view part, std::string trouble, WallTime now) {
  const auto known = std::ranges::find(standings_, part, &Standing::part);
  if (known == standings_.end()) {
    standings_.push_back({std::string(part), std::move(trouble), now});
    return;
  }
  if (known->trouble.empty() != trouble.empty()) known->since = now;
  known->trouble = std::move(trouble);
}

bool Health::is_well() const {
  return std::ranges::all_of(standings_, [](const Standing& one) { return one.trouble.empty(); });
}

}  // namespace kurultai
