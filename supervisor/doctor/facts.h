// What the doctor looks at: a machine, and the place where a supervisor would keep its state. Plain values,
// so that every diagnosis can be tested without such a machine.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "protocol/bytes.h"
#include "protocol/words.h"

namespace kurultai {

struct MissingProgram {
  std::string agent, program;
};

struct MachineFacts {
  Guarantee guarantee = Guarantee::rlimit;  // found by making a group and limiting it
  std::string explanation;                  // where the groups are, or why there are none
  Bytes memory;                             // of the machine or, where that is less, of the container
  std::optional<Bytes> free_swap;           // nothing: cannot be read
  bool pressure = false;                    // /proc/pressure/memory can be read
  std::int64_t panic_on_oom = 0;            // vm.panic_on_oom
  bool is_root = false;
  bool may_keep_oom_order = false;  // CAP_SYS_RESOURCE: an agent cannot lower what was set by one who has it
  bool may_come_first = false;      // CAP_SYS_NICE
  std::uint64_t open_files = 0;     // RLIMIT_NOFILE, the soft one: it is what counts

  std::string state_directory;
  std::string state_trouble;  // why it cannot be written; empty: it can
  bool state_in_memory = false;
  Bytes state_room;
  std::optional<std::chrono::microseconds> sync;  // of 4 KiB written there, the median of some
  bool token_is_open = false;                     // others can read it

  std::vector<MissingProgram> missing;

  std::string tmp_trouble;      // why a private tmp cannot be mounted; empty: it can
  std::string sandbox_trouble;  // why bubblewrap does not work; empty: it does
};

/// Finds them out. Makes groups of an instance of its own for the time it takes, moves this process into one
/// of them where there is cgroup v2, and writes a file to the state directory, if that is there, or else to
/// where it would be made. Before there are threads. Some milliseconds, on a slow disk some hundred.
MachineFacts examine(const Config& config, const std::string& state_directory);

}  // namespace kurultai
