// What is to be packed: tasks whose needs are known exactly, to the benchmark and to the clairvoyant packing,
// and of which Kurultai is told a size class. Pure, and the same for the same seed.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace kurultai::bench {

struct WorkloadOptions {
  std::uint64_t seed = 1;
  int tasks = 200;
  int leaks = 4;  // of them
  int least_mib = 20;
  int most_mib = 400;  // also the cap of each
  std::chrono::milliseconds shortest{500};
  std::chrono::milliseconds longest{3000};
  double class_step = 1.1;  // how much larger a task of the next size class is
};

struct PackedTask {
  int mib = 0;  // the most that it takes, with all that its process costs
  std::chrono::milliseconds time{};
  int declared_mib = 0;  // a leak begins with so much and grows to its cap
  std::string size_class = {};

  bool leaks() const { return mib > declared_mib; }
};

/// Footprints are log-normal, from least to most; two deviations lie between their median and each end. Times
/// are uniform. The leaks stand anywhere, and are declared as the others are.
std::vector<PackedTask> make_workload(const WorkloadOptions& options);

}  // namespace kurultai::bench
