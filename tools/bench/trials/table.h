// Adds the rounds up, and words the sum: as a table for people, or as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/bench/trials/session.h"

namespace kurultai::bench {

struct Growth {
  int mib = 0;
  std::vector<double> ours, floor;               // seconds, taken by turns
  std::vector<double> waits_ms, floor_waits_ms;  // the longest of each
};

struct Sum {
  int right = 0;
  int wrong = 0;
  int not_counted = 0;
  int preempted = 0;
  int killed = 0;
  std::uint64_t bystander_turns = 0;
  std::vector<double> pauses_ms, memory_waits_ms, control_pauses_ms, preempt_ms, kill_ms, growers_waits_ms;

  /// Also a round that does not count is wrong when something in it was.
  void add(const Round& round);
};

std::string to_table(const Sum& sum, const GroupCounts& counts, const Growth& growth);
nlohmann::json to_json(const Sum& sum, const GroupCounts& counts, const Growth& growth);

}  // namespace kurultai::bench
