// A memory trace of one process or worker, taken while it runs: readings at a steady pace until the time is
// over, the one that is watched ends, or Ctrl-C.
#pragma once

#include <cstdio>
#include <functional>
#include <optional>

#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "tools/kurultai/complaint.h"

namespace kurultai {

/// What a look at it gives: a reading; no reading this time; or that it has ended.
struct Look {
  std::optional<Bytes> bytes;
  bool has_ended = false;
};

using Looking = std::function<Answer<Look>()>;

struct Recorded {
  std::size_t readings = 0;
  Duration took{0};
  bool has_ended = false;  // what was watched
};

/// Writes `seconds,bytes` lines to `out`, which stays the caller's; each is flushed, so that a reader sees
/// them at once. Seconds count from the first look. A look that takes longer than `interval` is followed by
/// the next at once, without making up for those that were missed.
Answer<Recorded> record_trace(std::FILE* out, const Looking& look, Duration interval, Duration length);

}  // namespace kurultai
