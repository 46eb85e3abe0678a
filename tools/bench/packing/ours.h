// The workload as tasks of a kurultaid of its own: exec agents with a size class, all of one priority,
// submitted at once. What it learns of footprints is kept where it is told.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/packing/outcome.h"

namespace kurultai::bench {

struct Pass {
  std::string name;
  std::string state_directory;  // what it learns, and knows from an earlier pass
  bool backfill = false;
  std::string log_file = {};  // at debug; empty: errors to stderr
};

/// Of each task that is no leak and did not end well at once, what the supervisor says about it, on stderr.
Outcome run_ours(const Course& course, const Pass& pass);

}  // namespace kurultai::bench
