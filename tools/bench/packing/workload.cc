#include "tools/bench/packing/workload.h"

#include <algorithm>
#include <cmath>

#include "tools/bench/dice.h"

namespace kurultai::bench {

namespace {

int footprint(Dice& dice, const WorkloadOptions& options) {
  const double least = std::log(options.least_mib);
  const double most = std::log(options.most_mib);
  const double drawn = (least + most) / 2 + (most - least) / 4 * dice.normal();
  return static_cast<int>(std::lround(std::exp(std::clamp(drawn, least, most))));
}

/// Named by the largest size that is in it: 25, 31, 39 … MiB.
std::string size_class_of(int mib, const WorkloadOptions& options) {
  double bound = options.least_mib * options.class_step;
  while (bound < mib) bound *= options.class_step;
  return "to" + std::to_string(std::lround(bound)) + "MiB";
}

/// Of those that are declared as no more than half of what they will take.
void make_leaks(std::vector<PackedTask>& tasks, const WorkloadOptions& options, Dice& dice) {
  std::vector<PackedTask*> small;
  for (PackedTask& task : tasks) {
    if (task.mib <= options.most_mib / 2) small.push_back(&task);
  }
  for (int left = options.leaks; left > 0 && !small.empty(); --left) {
    const auto chosen = small.begin() + static_cast<std::ptrdiff_t>(dice.number() % small.size());
    (*chosen)->mib = options.most_mib;
    small.erase(chosen);
  }
}

}  // namespace

std::vector<PackedTask> make_workload(const WorkloadOptions& options) {
  Dice dice(options.seed);
  std::vector<PackedTask> tasks;
  tasks.reserve(static_cast<std::size_t>(options.tasks));
  for (int i = 0; i < options.tasks; ++i) {
    PackedTask task;
    task.declared_mib = task.mib = footprint(dice, options);
    task.size_class = size_class_of(task.declared_mib, options);
    const double ms = dice.between(static_cast<double>(options.shortest.count()),
                                   static_cast<double>(options.longest.count()));
    task.time = std::chrono::milliseconds(std::lround(ms));
    tasks.push_back(std::move(task));
  }
  make_leaks(tasks, options, dice);
  return tasks;
}

}  // namespace kurultai::bench
