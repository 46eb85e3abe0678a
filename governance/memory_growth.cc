#include "governance/memory_growth.h"

#include <algorithm>

namespace kurultai {

std::optional<Bytes> grown_cap(Bytes cap, int deaths, const MemoryGrowth& growth) {
  constexpr Bytes step = mebibytes(1);
  if (!growth.grows() || deaths >= growth.max_deaths) return std::nullopt;
  // As floating point, which no factor brings to overflow.
  const double wanted =
      std::max(static_cast<double>(cap.count) * growth.factor, static_cast<double>(cap.count + step.count));
  const auto next = static_cast<std::int64_t>(std::min(wanted, static_cast<double>(growth.most.count)));
  const Bytes whole{next / step.count * step.count};
  if (whole < cap + step) return std::nullopt;
  return whole;
}

}  // namespace kurultai
