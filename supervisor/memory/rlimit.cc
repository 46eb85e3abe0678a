#include "supervisor/memory/rlimit.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <set>

#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/cpu_time.h"
#include "supervisor/memory/hierarchies.h"
#include "supervisor/memory/surroundings.h"
#include "supervisor/memory/sweep.h"

namespace kurultai {
namespace {

struct Member {
  ProcessState process;
  Statm statm;
};

/// Those with memory of their own. Parents come first in `processes`.
Result<std::vector<Member>> members_of(const std::string& proc_root,
                                       const std::vector<ProcessState>& processes) {
  std::vector<Member> members;
  for (const ProcessState& process : processes) {
    auto statm = read_statm(proc_root, process);
    if (!statm && is_gone(statm.error())) continue;
    if (!statm) return std::unexpected(statm.error());
    const auto parent =
        std::ranges::find(members, process.parent, [](const Member& m) { return m.process.id.pid; });
    if (parent != members.end() && shares_memory(process, *statm, parent->process, parent->statm)) continue;
    members.push_back({process, *statm});
  }
  return members;
}

Bytes resident_sum(const std::vector<Member>& members) {
  Bytes sum;
  for (const Member& member : members) sum += member.statm.resident;
  return sum;
}

struct Sum {
  Bytes memory, swap;
};

Result<Sum> proportional_sum(const std::string& proc_root, const std::vector<Member>& members) {
  Sum sum;
  for (const Member& member : members) {
    auto one = read_proportional(proc_root, member.process);
    if (!one && is_gone(one.error())) continue;
    if (!one && (one.error().code == EACCES || one.error().code == EPERM)) {
      sum.memory += member.statm.resident;  // runs as another user: its rss is the best there is
    } else if (!one) {
      return std::unexpected(one.error());
    } else {
      sum.memory += one->held;
      sum.swap += one->swap;
    }
  }
  return sum;
}

/// Of the same kind as the sum above, or memory would seem to fall where one takes the place of the other.
Result<Sum> quick_sum(const std::string& proc_root, const std::vector<Member>& members, bool swap_is_on) {
  Sum sum;
  for (const Member& member : members) {
    auto own = read_own_memory(proc_root, member.process);
    if (!own && !is_gone(own.error())) return std::unexpected(own.error());
    sum.memory += own ? own->held.value_or(member.statm.resident) : member.statm.resident;
    if (own && swap_is_on) sum.swap += own->swap;
  }
  return sum;
}

/// The header is one line, so a machine without swap has one line in all.
bool is_swap_on(const std::string& proc_root) {
  const auto swaps = read_file(proc_root + "/swaps");
  return swaps && std::ranges::count(*swaps, '\n') > 1;
}

bool is_near(Bytes reading, Bytes limit) { return limit.count > 0 && reading.count >= limit.count / 2; }

Result<std::vector<ProcessState>> living_in(const std::string& proc_root,
                                            const std::vector<TreeRequest>& requests) {
  std::vector<ProcessState> living;
  for (const TreeRequest& request : requests) {
    const auto processes = request.tree.walk(proc_root);
    if (!processes) return processes;
    living.insert(living.end(), processes->begin(), processes->end());
  }
  return living;
}

class RlimitController;

class RlimitGroup : public WorkerGroup {
 public:
  RlimitGroup(RlimitController& controller, const std::string& proc_root, std::string name, Bytes cap)
      : controller_(controller), proc_root_(proc_root), name_(std::move(name)), cap_(cap) {}
  ~RlimitGroup() override;

  std::vector<std::string> launch_options() const override {
    return {"--limit-data", std::to_string(cap_.count), "--hold"};
  }

  void started(int pid) override {
    if (auto process = read_process(proc_root_, pid)) tree_.root = process->id;
  }

  void ended(int status, int signal) override {
    may_have_strays_ = !taken_whole_ && (status != 0 || signal != 0);
  }

  /// On the loop, so without PSS: what processes share counts for each of them.
  Result<GroupReading> read() const override {
    auto processes = look();
    if (!processes) return std::unexpected(processes.error());
    auto members = members_of(proc_root_, *processes);
    if (!members) return std::unexpected(members.error());
    const auto sum = quick_sum(proc_root_, *members, false);
    if (!sum) return std::unexpected(sum.error());
    return GroupReading{resident_sum(*members), sum->memory, {}, {}, 0};
  }

  /// Without a group the kernel kills nobody for a cap of ours: no need to walk the tree for that.
  std::uint64_t oom_kills() const override { return 0; }

  Result<void> set_limit(Bytes memory) override;
  Result<bool> kill_all() override;
  void signal_all(int signal) override;
  Result<std::vector<int>> processes() const override;

  int oom_fd() const override { return -1; }
  void acknowledge_oom() override {}

  TreeRequest request() const { return {name_, tree_, cap_}; }

 private:
  Result<std::vector<ProcessState>> look() const;
  Result<void> look_for_strays();
  void stop(const std::vector<ProcessState>& processes) const;
  bool is_root(const ProcessState& process) const { return process.id == tree_.root; }

  RlimitController& controller_;
  const std::string& proc_root_;
  std::string name_;
  Bytes cap_;
  mutable ProcessTree tree_;
  bool taken_whole_ = false;      // by us: the launcher last, when nobody else was left
  bool may_have_strays_ = false;  // the launcher ended badly
};

class RlimitController : public Controller {
 public:
  RlimitController(const ControllerOptions& options, std::string explanation)
      : proc_root_(options.proc_root), instance_(options.instance), explanation_(std::move(explanation)) {
    const auto hierarchies = read_hierarchies(options);
    if (!hierarchies) return;  // no groups, no limits
    for (const Hierarchy* one : {find_cgroup1(*hierarchies, "memory"), find_cgroup2(*hierarchies)})
      if (one) surroundings_.emplace_back(one->version, one->directory + one->own.value_or(""));
  }

  Guarantee guarantee() const override { return Guarantee::rlimit; }
  std::string explanation() const override { return explanation_; }
  bool slow() const override { return true; }
  std::vector<std::string> group_paths() const override { return {}; }
  /// Workers are in the group that we are in.
  void tighten(MachineReading& machine) const override {
    for (const Surroundings& around : surroundings_) around.tighten(machine);
  }
  Result<int> watch(const std::vector<Bytes>&) override { return -1; }

  /// Nothing enforces it; readings come to be exact in its neighbourhood. Comes on a thread, while the loop
  /// may ask for a reading.
  Result<void> set_workers_limit(Bytes limit) override {
    budget_ = limit;
    return {};
  }

  Result<std::unique_ptr<WorkerGroup>> make_group(const std::string& name, GroupLimits limits) override {
    auto group = std::make_unique<RlimitGroup>(*this, proc_root_, name, limits.memory);
    groups_.push_back(group.get());
    return group;
  }

  std::function<Result<WorkersReading>()> reading_job(bool each_group) const override {
    return [proc_root = proc_root_, requests = requests(), budget = budget_.load(), each_group] {
      auto reading = read_trees(proc_root, requests, budget);
      if (reading && !each_group) reading->groups.clear();
      return reading;
    };
  }

  std::function<Result<std::chrono::microseconds>()> cpu_job() const override {
    return [proc_root = proc_root_, requests = requests()] {
      return cpu_time_of_workers([&] { return living_in(proc_root, requests); });
    };
  }

  void forget(const RlimitGroup* group) { std::erase(groups_, group); }

  /// Processes with the instance's mark, begun at `since` or later, that are in no other group's tree. Looks
  /// at every process of the machine.
  Result<std::vector<ProcessId>> marked_for(const RlimitGroup* group, std::uint64_t since) const;

 private:
  std::vector<TreeRequest> requests() const {
    std::vector<TreeRequest> requests;
    requests.reserve(groups_.size());
    for (const RlimitGroup* group : groups_) requests.push_back(group->request());
    return requests;
  }

  std::string proc_root_;
  std::string instance_;
  std::vector<Surroundings> surroundings_;
  std::string explanation_;
  std::atomic<Bytes> budget_;
  std::vector<const RlimitGroup*> groups_;
};

RlimitGroup::~RlimitGroup() { controller_.forget(this); }

Result<std::vector<ProcessState>> RlimitGroup::look() const {
  auto processes = tree_.walk(proc_root_);
  if (!processes) return processes;
  tree_.known.clear();
  for (const ProcessState& process : *processes) tree_.known.push_back(process.id);
  return processes;
}

Result<std::vector<ProcessId>> RlimitController::marked_for(const RlimitGroup* group,
                                                            std::uint64_t since) const {
  auto marked = find_marked(proc_root_, instance_, {}, since);
  if (!marked) return std::unexpected(marked.error());
  std::set<int> others;
  for (const RlimitGroup* other : groups_) {
    if (other == group) continue;
    auto processes = other->request().tree.walk(proc_root_);
    if (!processes) return std::unexpected(processes.error());
    for (const ProcessState& process : *processes) others.insert(process.id.pid);
  }
  std::vector<ProcessId> found;
  for (const ProcessState& process : *marked)
    if (!others.contains(process.id.pid)) found.push_back(process.id);
  return found;
}

/// A launcher that was killed itself held its tree together no more: what left the tree then has the mark
/// still.
Result<void> RlimitGroup::look_for_strays() {
  if (!may_have_strays_) return {};
  auto strays = controller_.marked_for(this, tree_.root.start);
  if (!strays) return std::unexpected(strays.error());
  tree_.known.insert(tree_.known.end(), strays->begin(), strays->end());
  return {};
}

Result<void> RlimitGroup::set_limit(Bytes memory) {
  if (memory.count <= 0) return failure("limit of " + name_ + ": must be positive");
  auto processes = look();
  if (!processes) return std::unexpected(processes.error());
  cap_ = memory;
  const auto wanted = static_cast<rlim_t>(memory.count);
  for (const ProcessState& process : *processes) {
    rlimit limit{};
    if (is_root(process) || ::prlimit(process.id.pid, RLIMIT_DATA, nullptr, &limit) != 0)
      continue;  // or gone
    limit = {wanted, std::max(wanted, limit.rlim_max)};
    if (::prlimit(process.id.pid, RLIMIT_DATA, &limit, nullptr) != 0 && errno != ESRCH)
      return system_failure("prlimit of process " + std::to_string(process.id.pid), errno);
  }
  return {};
}

void RlimitGroup::stop(const std::vector<ProcessState>& processes) const {
  static const int own_session = ::getsid(0);
  for (const ProcessState& process : processes) {
    if (process.state != 'T') signal_process(proc_root_, process.id, SIGSTOP);
  }
  for (const int group : groups_to_stop(processes, own_session, ::getpgrp())) stop_group(group);
}

Result<bool> RlimitGroup::kill_all() {
  auto processes = look();
  if (!processes) return std::unexpected(processes.error());
  if (processes->empty()) {
    if (auto looked = look_for_strays(); !looked) return std::unexpected(looked.error());
    return tree_.known.empty();
  }
  // Stop all before killing any: what is stopped cannot fork, and a parent that lives keeps its children
  // findable.
  for (std::size_t before = 0, rounds = 0; before != processes->size() && rounds < 8; ++rounds) {
    before = processes->size();
    stop(*processes);
    processes = look();
    if (!processes) return std::unexpected(processes.error());
  }
  // The launcher goes last, in a later call: orphans of those who die come to it.
  const bool only_root =
      std::ranges::all_of(*processes, [&](const auto& process) { return is_root(process); });
  taken_whole_ = only_root;
  for (const ProcessState& process : *processes)
    if (only_root || !is_root(process)) signal_process(proc_root_, process.id, SIGKILL);
  return false;
}

void RlimitGroup::signal_all(int signal) {
  const auto processes = look();
  if (!processes) return;
  // Not to the launcher: it is ours, and holds the tree together.
  for (const ProcessState& process : *processes)
    if (!is_root(process)) signal_process(proc_root_, process.id, signal);
}

Result<std::vector<int>> RlimitGroup::processes() const {
  auto processes = look();
  if (!processes) return std::unexpected(processes.error());
  std::vector<int> pids;
  for (const ProcessState& process : *processes) pids.push_back(process.id.pid);
  return pids;
}

}  // namespace

Result<WorkersReading> read_trees(const std::string& proc_root, const std::vector<TreeRequest>& requests,
                                  Bytes budget) {
  std::vector<std::vector<Member>> trees;
  Bytes raw;
  for (const TreeRequest& request : requests) {
    auto processes = request.tree.walk(proc_root);
    if (!processes) return std::unexpected(processes.error());
    auto members = members_of(proc_root, *processes);
    if (!members) return std::unexpected(members.error());
    raw += resident_sum(*members);
    trees.push_back(std::move(*members));
  }
  const bool swap_is_on = is_swap_on(proc_root);
  WorkersReading reading;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Bytes resident = resident_sum(trees[i]);
    auto sum = is_near(raw, budget) || is_near(resident, requests[i].cap)
                   ? proportional_sum(proc_root, trees[i])
                   : quick_sum(proc_root, trees[i], swap_is_on);
    if (!sum) return std::unexpected(sum.error());
    const GroupReading one{resident, sum->memory + sum->swap, sum->swap, {}, 0};
    reading.groups.push_back({requests[i].name, one});
    reading.total.raw += one.raw;
    reading.total.used += one.used;
    reading.total.swap += one.swap;
  }
  return reading;
}

std::set<int> groups_to_stop(const std::vector<ProcessState>& tree, int own_session, int own_group) {
  std::set<int> groups;
  for (const ProcessState& process : tree) {
    if (process.state != 'T' && process.session != own_session && process.group != own_group)
      groups.insert(process.group);
  }
  return groups;
}

std::unique_ptr<Controller> make_rlimit(const ControllerOptions& options, const std::string& remark) {
  return std::make_unique<RlimitController>(options, "RLIMIT_DATA and supervision of process trees" + remark);
}

}  // namespace kurultai
