// Processes as /proc shows them: state, parent, memory, children. Processes come and go while one reads:
// those that are gone are skipped, every other failure is an error. No state; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/error.h"

namespace kurultai {

/// The start time tells a process from a later one with the same number.
struct ProcessId {
  int pid = 0;
  std::uint64_t start = 0;  // clock ticks after boot
  bool operator==(const ProcessId&) const = default;
};

struct ProcessState {
  ProcessId id;
  int parent = 0;
  char state = '?';  // R, S, D, T, Z, …
  int threads = 1;
  int group = 0;    // process group
  int session = 0;  // every process of a session descends from its leader, who has this number
  std::chrono::microseconds cpu{};  // its own, and that of the children it has waited for
  /// Ended, perhaps not yet waited for. A leader that ended before its threads shows Z too, but lives.
  bool is_dead() const { return state == 'X' || (state == 'Z' && threads <= 1); }
};

struct Statm {
  Bytes size, resident, shared;
};

/// Memory that several processes map counts for each by its share. `held` leaves out pages of files, as the
/// charge of a group leaves out those that it can give back: a browser's own program is two thirds of its
/// PSS.
struct Proportional {
  Bytes held, swap;
};

/// Pure; `file` is named in errors.
Result<ProcessState> parse_stat(std::string_view text, const std::string& file);
Result<Statm> parse_statm(std::string_view text, const std::string& file);
Result<Proportional> parse_smaps_rollup(std::string_view text, const std::string& file);

/// Whether an error of the calls below means that the process is gone.
bool is_gone(const Error& error);

Result<ProcessState> read_process(const std::string& proc_root, int pid);
Result<Statm> read_statm(const std::string& proc_root, const ProcessState& process);
/// Takes 8 to 23 ms for a process of 1 GiB: on a thread. EACCES for processes that may not be looked into.
Result<Proportional> read_proportional(const std::string& proc_root, const ProcessState& process);
/// What statm leaves out: how much of the resident memory is no file's, and what is swapped.
struct OwnMemory {
  std::optional<Bytes> held;  // absent before kernel 4.5. What processes share counts for each of them
  Bytes swap;
};
Result<OwnMemory> read_own_memory(const std::string& proc_root, const ProcessState& process);

/// Every living process.
Result<std::vector<ProcessState>> all_processes(const std::string& proc_root);

/// Those of `roots` that live, and all their living descendants, parents first. Seeds that are gone, or whose
/// number belongs to another process now, are skipped. A process that forks meanwhile may hide a child:
/// repeat. Not much more than `most` of them are looked for.
Result<std::vector<ProcessState>> walk_tree(const std::string& proc_root, const std::vector<ProcessId>& roots,
                                            std::size_t most = std::numeric_limits<std::size_t>::max());

/// One worker's processes: the launcher, its descendants, and whom we saw among them before (should the
/// launcher be killed, its orphans would go to our own parent).
struct ProcessTree {
  ProcessId root;
  std::vector<ProcessId> known;
  Result<std::vector<ProcessState>> walk(const std::string& proc_root) const;
};

/// Sends `signal` to exactly this process: a number that was given to another one meanwhile is left alone.
void signal_process(const std::string& proc_root, ProcessId process, int signal);

/// Stops a whole process group at once. Against chains of processes that each fork a successor and end,
/// faster than one can read /proc: the kernel lets no fork slip by a signal to its group.
void stop_group(int group);

/// Whether both run in the same memory, as after vfork and before exec: it must be counted once.
bool shares_memory(const ProcessState& child, const Statm& child_statm, const ProcessState& parent,
                   const Statm& parent_statm);

}  // namespace kurultai
