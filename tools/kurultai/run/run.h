// `kurultai run`: commands under one memory budget, without a daemon. A private kurultaid is started for the
// time of the run; commands are handed to it a bounded number ahead, and outputs come out whole, one after
// the other.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "tools/kurultai/complaint.h"

namespace kurultai {

struct RunOptions {
  std::optional<Bytes> budget;
  std::optional<Bytes> memory;  // cap of one command
  int jobs = 2;
  std::string priority;
  int retries = 0;
  std::optional<Duration> timeout;  // of one command; none by default
  std::string results;              // directory; empty: none
  bool keep_order = false;
  std::vector<std::string> command;  // with `:::` and its arguments, when they were given
};

/// The exit status: the number of failed commands, 101 for more than 100, 130 when Ctrl-C kept some from
/// running and none failed, and 255 for a mistake in the words or an error of the run itself, so that it
/// cannot be taken for a number.
inline constexpr int run_own_error = 255;
int run(const RunOptions& options);

}  // namespace kurultai
