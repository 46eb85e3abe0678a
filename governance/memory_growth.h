// How much more memory a task gets that died of its own cap. Pure.
#pragma once

#include <optional>

#include "protocol/bytes.h"

namespace kurultai {

struct MemoryGrowth {
  double factor = 1;   // each cap is so many times the one before; 1: it does not grow
  int max_deaths = 3;  // of one task, by its cap; at least 1
  Bytes most = {};     // that a cap may grow to: what fits at all

  bool grows() const { return factor > 1; }
};

/// The cap of the next attempt of a task that died of `cap`, its `deaths`th death of that kind: in whole
/// mebibytes, and at least one more. Nothing: it gets no more, and is not tried again.
std::optional<Bytes> grown_cap(Bytes cap, int deaths, const MemoryGrowth& growth);

}  // namespace kurultai
