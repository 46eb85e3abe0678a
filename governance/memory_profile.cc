#include "governance/memory_profile.h"

#include <algorithm>

namespace kurultai {

void MemoryProfile::halve() {
  for (std::size_t i = 0; i < steps_.size(); i += 2)
    steps_[i / 2] = i + 1 < steps_.size() ? std::max(steps_[i], steps_[i + 1]) : steps_[i];
  steps_.resize((steps_.size() + 1) / 2);
  step_ *= 2;
}

void MemoryProfile::note(TimePoint at, Bytes used) {
  length_ = at.time_since_epoch();
  while (length_ / step_ >= static_cast<std::int64_t>(most_steps)) halve();
  const auto index = static_cast<std::size_t>(length_ / step_);
  if (index >= steps_.size()) steps_.resize(index + 1, nothing);
  steps_[index] = std::max(steps_[index], used);
}

std::vector<Bytes> MemoryProfile::columns(std::size_t columns) const {
  std::vector<Bytes> out(columns, nothing);
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    Bytes& column = out[i * columns / steps_.size()];
    column = std::max(column, steps_[i]);
  }
  Bytes last;
  for (Bytes& column : out) {
    if (column == nothing) column = last;
    last = column;
  }
  return out;
}

}  // namespace kurultai
