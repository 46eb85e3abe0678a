// What can be done to a directory of groups as a whole: find, kill, thaw and remove what is inside, nested
// groups included (agents may make their own). Used by the groups themselves, at start for what an earlier
// run left, and by the guardian. No state; all of it is safe to call again.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "protocol/error.h"
#include "supervisor/memory/hierarchies.h"

namespace kurultai {

/// Processes in `directory` and below. None when it does not exist.
Result<std::vector<int>> processes_below(const std::string& directory);

/// Sends `signal` to each, except to process 0 (one outside of our pid namespace), 1, ourselves and `spared`.
void signal_each(const std::vector<int>& processes, int signal, const std::vector<int>& spared = {});

/// Wakes what is frozen, here and below. Where nothing is frozen it does nothing.
void thaw_below(const std::string& directory);

/// rmdir, nested groups first. Success when it is not there.
Result<void> remove_below(const std::string& directory);

/// Takes `process` back to `former`, out of the leaf of a version 2 instance whose workers are removed.
/// Controllers enabled there for our groups are switched off when they are in the way (a group with
/// controllers for its children takes no process), unless `former` has children of others.
Result<void> leave_leaf(const InstancePaths& paths, const std::string& former, int process);

struct ClearOptions {
  std::vector<int> spared;        // never killed
  bool spare_supervisor = false;  // kill in the workers' groups only
  std::chrono::milliseconds patience{2000};
};
/// Kills, thaws and removes the groups of an instance. Blocks, at most `patience`; gives up at once when that
/// cannot help (no permission).
Result<void> clear_instance(const std::vector<InstancePaths>& all, const ClearOptions& options);

}  // namespace kurultai
