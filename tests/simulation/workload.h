// What happens to a world from outside, all of it drawn from the seed: its configuration, what fails, and a
// list of actions without end, each drawn by its number, so that leaving one out does not change the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <variant>

#include "config/config.h"
#include "supervisor/dispatcher.h"
#include "tests/simulation/kernel.h"

namespace kurultai::simulation {

/// One run. Everything after `steps` is what a failing run was cut down to.
struct Plan {
  std::uint64_t seed = 1;
  std::uint64_t steps = 50'000;  // after these nothing more is asked for, and all must come to its end
  std::size_t actions = std::numeric_limits<std::size_t>::max();  // at most so many
  std::set<std::size_t> left_out;                                 // of those, these do not take place
  bool calm = false;                                              // nothing fails in the kernel
};

/// Of a whole world.
struct Setting {
  std::shared_ptr<const Config> config;
  Level level;
  Faults faults;
  Duration longest_gap{};       // between two actions
  bool drains_at_once = false;  // at the end of the actions, with work under way
  Duration drain_limit{};
  bool has_disk = false;    // tasks are written down,
  bool disk_fails = false;  // not always
  bool hurries = false;     // and kills the workers when that takes long
};
Setting setting_of(std::uint64_t seed);

struct CancelOne {
  std::size_t back;  // so many tasks before the newest
};
struct Reload {
  std::shared_ptr<const Config> config;
};
using Action = std::variant<Submission, CancelOne, Reload>;

struct Planned {
  Duration gap{};  // since the one before
  Action action;
};
/// The payload of a submission is its number.
Planned action_of(std::uint64_t seed, std::size_t number, const Setting& setting);

}  // namespace kurultai::simulation
