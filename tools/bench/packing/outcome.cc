#include "tools/bench/packing/outcome.h"

#include <algorithm>
#include <utility>

namespace kurultai::bench {

Outcome outcome_of(std::string name, const Course& course, const std::vector<Told>& told) {
  Outcome outcome{.name = std::move(name), .most = {}};
  for (std::size_t i = 0; i < told.size(); ++i) {
    outcome.restarts += std::max(told[i].starts - 1, 0);
    if (course.tasks[i].leaks()) continue;
    if (told[i].ends == 0) ++outcome.undone;
    outcome.killed += told[i].starts - told[i].ends;
  }
  return outcome;
}

}  // namespace kurultai::bench
