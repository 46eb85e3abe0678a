#include "governance/memory_growth.h"

#include <algorithm>

namespace kurultai {

std::optional<Bytes> grown_cap(Bytes cap, int deaths, const MemoryGrowth& growth) {
  constexpr Bytes step = mebibytes(1);
  if (!growth.grows() || deaths >= growth.max_deaths || cap > growth.most - step) return std::nullopt;
  const Bytes next = std::min(std::max(share_of(cap, growth.factor), cap + step), growth.most);
  const Bytes whole{next.count / step.count * step.count};
  if (whole < cap + step) return std::nullopt;
  return whole;
}

}  // namespace kurultai
