// Which cgroup hierarchies this machine has, where they are mounted and which group this process is in, from
// /proc/self/mountinfo and /proc/self/cgroup: containers and hybrid machines put them anywhere.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.h"
#include "supervisor/memory/controller.h"

namespace kurultai {

struct Hierarchy {
  int version = 0;                       // 1 or 2
  std::vector<std::string> controllers;  // version 1 only
  std::string directory;                 // where it is mounted
  std::optional<std::string> own;  // this process's group below `directory` ("" is the top), if visible there
};

/// Pure: both files as text.
std::vector<Hierarchy> parse_hierarchies(std::string_view mountinfo, std::string_view own_cgroups);
/// Reads them under proc_root; /sys/fs/cgroup becomes cgroup_root.
Result<std::vector<Hierarchy>> read_hierarchies(const ControllerOptions& options);

const Hierarchy* find_cgroup2(const std::vector<Hierarchy>& hierarchies);
const Hierarchy* find_cgroup1(const std::vector<Hierarchy>& hierarchies, std::string_view controller);

/// The directory that `cgroup_parent` ("self" or a path below the root) names in this hierarchy. Not looked
/// at.
Result<std::string> parent_directory(const Hierarchy& hierarchy, const std::string& cgroup_parent);

/// The directories of one instance in one hierarchy.
struct InstancePaths {
  std::string parent;
  std::string top;         // PARENT/kurultai-INSTANCE
  std::string supervisor;  // the supervisor's own leaf
  std::string workers;     // all workers: the backstop limit is here
};
Result<InstancePaths> instance_paths(const Hierarchy& hierarchy, const ControllerOptions& options);

/// Every place where groups of this instance can be: memory, pids and freezer of version 1, and version 2.
std::vector<InstancePaths> all_instance_paths(const ControllerOptions& options);

/// Whether `name` can be the last part of a group's path.
bool is_group_name(std::string_view name);

}  // namespace kurultai
