// The choice among the three levels, made once at start by trying.
#include "supervisor/memory/cgroup.h"
#include "supervisor/memory/group_tree.h"
#include "supervisor/memory/rlimit.h"
#include "supervisor/memory/sweep.h"

namespace kurultai {
namespace {

constexpr std::chrono::milliseconds patience{2000};

/// What an earlier run left; what cannot be cleared is said, not fatal: its groups are used again.
std::string clear_earlier(const ControllerOptions& options) {
  std::string remark;
  if (auto cleared = clear_instance(all_instance_paths(options), {options.companions, false, patience});
      !cleared)
    remark += "; left by an earlier run: " + cleared.error().message;
  if (auto swept = sweep_marked(options.proc_root, options.instance, patience, options.companions); !swept)
    remark += "; earlier processes were not looked for: " + swept.error().message;
  return remark;
}

}  // namespace

std::unique_ptr<Controller> choose_controller(const ControllerOptions& options) {
  const std::string remark = clear_earlier(options);
  auto version2 = make_cgroup2(options, remark);
  if (version2) return std::move(*version2);
  std::string why = "cgroup v2 is not usable: " + version2.error().message;
  auto version1 = make_cgroup1(options, "; " + why + remark);
  if (version1) return std::move(*version1);
  why += "; cgroup v1 is not usable: " + version1.error().message;
  return make_rlimit(options, "; " + why + remark);
}

}  // namespace kurultai
