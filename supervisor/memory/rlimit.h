// The level without cgroups: RLIMIT_DATA on each process, supervision of the tree below a launcher that stays
// as its subreaper, memory as the sum over the tree.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "supervisor/memory/controller.h"
#include "supervisor/memory/proc.h"

namespace kurultai {

struct TreeRequest {
  std::string name;
  ProcessTree tree;
  Bytes cap;
};

/// Reads trees: raw is the sum of rss, which counts shared pages as often as they are mapped, so it is never
/// too small. Where that comes near (half of) the cap or the budget, used is the exact sum of PSS; else it is
/// raw again. Swap is added. Slow: on a thread.
Result<WorkersReading> read_trees(const std::string& proc_root, const std::vector<TreeRequest>& requests,
                                  Bytes budget);

/// The process groups of a tree that may be stopped as wholes. A session that is not our own was begun by a
/// descendant of ours on the way to this process, so by one of this tree, and all in it are of this tree. But
/// setsid changes the session before the group (ksys_setsid in kernel/sys.c), and /proc shows the moment in
/// between: a launcher in a session of its own and still in our group.
std::set<int> groups_to_stop(const std::vector<ProcessState>& tree, int own_session, int own_group);

/// Cannot fail; `remark` ends the explanation.
std::unique_ptr<Controller> make_rlimit(const ControllerOptions& options, const std::string& remark);

}  // namespace kurultai
