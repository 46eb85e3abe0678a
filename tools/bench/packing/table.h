// Words the outcomes: as a table for people, or as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "tools/bench/packing/outcome.h"

namespace kurultai::bench {

/// What the times are compared with.
struct Floor {
  int tasks = 0;
  int leaks = 0;
  Bytes budget;
  Bytes usable;           // that a start may fill: the share of the budget below the preempt threshold
  std::string rule;       // of the best packing into `usable`
  double packed = 0;      // seconds, computed, into `usable`
  double packed_all = 0;  // into the whole budget
  double least = 0;       // no packing into `usable` can be shorter
  double bare = 0;        // the packing into `usable`, really run
};

struct Skipped {
  std::string name;
  std::string why;
};

std::string to_table(const Floor& floor, const std::vector<Outcome>& outcomes,
                     const std::vector<Skipped>& skipped);
nlohmann::json to_json(const Floor& floor, const std::vector<Outcome>& outcomes,
                       const std::vector<Skipped>& skipped);

}  // namespace kurultai::bench
