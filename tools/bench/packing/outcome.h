// What all who run the workload are given, and what is found out about their run: in the same way of each of
// them, from the outside.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "tools/bench/packing/agent.h"
#include "tools/bench/packing/workload.h"

namespace kurultai::bench {

struct Course {
  std::span<const PackedTask> tasks;  // in the order in which they arrive, all at once
  Bytes budget;
  int cap_mib = 0;
  std::string directory;  // for their files
};

struct Outcome {
  std::string name;
  double seconds = 0;  // from before the first is handed over until the last has ended
  int undone = 0;      // of those that are no leaks
  int killed = 0;      // how often one that is no leak was ended before its time
  int restarts = 0;    // of any, leaks included
  Bytes most;          // held at once, with the process that runs them
};

/// All but the time and the memory.
Outcome outcome_of(std::string name, const Course& course, const std::vector<Told>& told);

}  // namespace kurultai::bench
