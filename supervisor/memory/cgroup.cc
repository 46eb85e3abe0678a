#include "supervisor/memory/cgroup.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/group_tree.h"

namespace kurultai {

Result<std::int64_t> unused_cache(std::string_view stat, const CacheKeys& keys, const std::string& path) {
  auto inactive = flat_number(stat, keys.inactive, path);
  if (!inactive) return inactive;
  const auto number = [&](const char* key) { return flat_number(stat, key, path).value_or(0); };
  return sum_of(*inactive, std::min(number(keys.active), sum_of(number(keys.dirty), number(keys.writeback))));
}

Result<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return system_failure("mkdir " + path, errno);
}

Result<SupervisorSeat> SupervisorSeat::take(const InstancePaths& paths, const std::string& former,
                                            const std::vector<int>& companions) {
  SupervisorSeat seat(paths, former);
  std::vector<int> all{::getpid()};
  all.insert(all.end(), companions.begin(), companions.end());
  for (const int process : all) {
    auto moved = write_file(paths.supervisor + "/cgroup.procs", std::to_string(process));
    if (!moved) return std::unexpected(moved.error());
    seat.seated_.push_back(process);
  }
  return seat;
}

void SupervisorSeat::leave() {
  // Refused: we end here, and the guardian removes the leaf.
  for (const int process : std::exchange(seated_, {})) ignore_failure(leave_leaf(paths_, former_, process));
}

CgroupController::CgroupController(int version, std::vector<InstancePaths> hierarchies, SupervisorSeat seat,
                                   std::shared_ptr<Charge> total, std::string proc_root,
                                   std::string explanation)
    : hierarchies_(std::move(hierarchies)),
      seat_(std::move(seat)),
      total_(std::move(total)),
      surroundings_(version, memory_paths().parent),
      proc_root_(std::move(proc_root)),
      explanation_(std::move(explanation)) {}

CgroupController::~CgroupController() {
  // One try: what is busy is the guardian's.
  for (const InstancePaths& paths : hierarchies_) ignore_failure(remove_below(paths.workers));
  seat_.leave();
  for (const InstancePaths& paths : hierarchies_) ignore_failure(remove_below(paths.top));
}

Result<GroupReading> Charge::read_again() const {
  if (last_ && repeated_ < most_repeated) {
    const auto charged = current();
    if (!charged) return std::unexpected(charged.error());
    repeated_ += 1;
    if (*charged == last_->raw) return *last_;
  }
  if (last_) repeated_ = 0;
  auto reading = read();
  last_ = reading ? std::optional(*reading) : std::nullopt;
  return reading;
}

std::function<Result<WorkersReading>()> CgroupController::reading_job(bool each_group) const {
  auto groups = each_group ? living_ : decltype(living_)();
  return [total = total_, groups = std::move(groups)]() -> Result<WorkersReading> {
    auto sum = total->read();
    if (!sum) return std::unexpected(sum.error());
    WorkersReading reading{*sum, {}};
    for (const auto& [name, charge] : groups) {
      auto one = charge->read_again();
      if (!one && one.error().code == ENODEV) continue;  // removed meanwhile
      if (!one) return std::unexpected(one.error());
      reading.groups.push_back({name, *one});
    }
    return reading;
  };
}

std::vector<std::string> CgroupController::group_paths() const {
  std::vector<std::string> paths;
  for (const InstancePaths& one : hierarchies_) {
    paths.push_back(one.workers);
    if (::access(one.supervisor.c_str(), F_OK) == 0) paths.push_back(one.supervisor);
    paths.push_back(one.top);
  }
  return paths;
}

void CgroupController::retire(const std::string& name, const std::vector<std::string>& directories) {
  living_.erase(name);
  retired_.insert(directories.begin(), directories.end());
  remove_retired();
}

void CgroupController::remove_retired() {
  std::erase_if(retired_, [](const std::string& directory) {
    if (const auto processes = processes_below(directory)) signal_each(*processes, SIGKILL);
    return remove_below(directory).has_value();
  });
}

Result<std::vector<std::string>> CgroupController::make_directories(const std::string& name) {
  if (!is_group_name(name) || name.contains('.'))
    return failure("'" + name + "' cannot name a worker's group");
  remove_retired();
  std::vector<std::string> directories;
  for (const InstancePaths& paths : hierarchies_) {
    const std::string directory = paths.workers + "/" + name;
    if (living_.contains(name) || retired_.contains(directory))
      return system_failure("mkdir " + directory, EBUSY);
    if (auto made = make_directory(directory); !made) {
      for (const std::string& earlier : directories) ignore_failure(remove_below(earlier));
      return std::unexpected(made.error());
    }
    directories.push_back(directory);
  }
  return directories;
}

std::vector<std::string> CgroupGroup::launch_options() const {
  std::vector<std::string> options;
  for (const std::string& directory : directories_) {
    options.emplace_back("--join");
    options.push_back(directory + "/cgroup.procs");
  }
  return options;
}

Result<bool> CgroupGroup::kill_all() {
  auto inside = processes();
  if (!inside) return std::unexpected(inside.error());
  signal_each(*inside, SIGKILL);
  return inside->empty();
}

void CgroupGroup::signal_all(int signal) {
  if (const auto inside = processes()) signal_each(*inside, signal);
}

Result<std::vector<int>> CgroupGroup::processes() const {
  auto inside = processes_below(memory_directory());
  if (!inside) return inside;
  for (const int pid : moved_out(*inside)) inside->push_back(pid);
  return inside;
}

void CgroupGroup::started(int pid) {
  if (const auto process = read_process(controller_.proc_root(), pid)) tree_.root = process->id;
}

bool CgroupGroup::is_lost() const {
  return ::access(memory_directory().c_str(), F_OK) != 0 && errno == ENOENT;
}

int CgroupGroup::escaped() const {
  static constexpr std::size_t most = 64;
  const ProcessId before = std::exchange(outside_, ProcessId());
  if (tree_.root.pid == 0) return 0;
  // In this order: who was there at the first look is in its parent's group at the second.
  const auto family = walk_tree(controller_.proc_root(), {tree_.root}, most);
  const auto inside = processes_below(memory_directory());
  if (!family || !inside || is_lost()) return 0;
  for (const ProcessState& member : *family) {
    if (std::ranges::find(*inside, member.id.pid) != inside->end()) continue;
    const auto now = read_process(controller_.proc_root(), member.id.pid);
    if (!now || now->id != member.id || now->is_dead()) continue;
    outside_ = member.id;
    if (outside_ != before) return 0;
    for (const ProcessState& one : *family) tree_.known.push_back(one.id);
    return member.id.pid;
  }
  return 0;
}

// Remembered from call to call: the children of one that was killed are no longer to be found through it.
std::vector<int> CgroupGroup::moved_out(const std::vector<int>& inside) const {
  const bool root_is_inside = std::ranges::find(inside, tree_.root.pid) != inside.end();
  if (tree_.root.pid == 0 || (root_is_inside && tree_.known.empty())) return {};
  const auto tree = tree_.walk(controller_.proc_root());
  if (!tree) return {};
  std::vector<int> moved;
  tree_.known.clear();
  for (const ProcessState& process : *tree) {
    tree_.known.push_back(process.id);
    if (std::ranges::find(inside, process.id.pid) == inside.end()) moved.push_back(process.id.pid);
  }
  return moved;
}

}  // namespace kurultai
