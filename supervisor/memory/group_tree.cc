#include "supervisor/memory/group_tree.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <thread>

#include "supervisor/memory/cgroup_file.h"

namespace kurultai {
namespace {

using Clock = std::chrono::steady_clock;

bool says_gone(int code) { return code == ENOENT || code == ENODEV; }

std::vector<std::string> child_groups(const std::string& directory) {
  struct stat status{};
  // Every subdirectory's `..` is a link to its parent: 2 means that there is none, and saves the listing.
  if (::stat(directory.c_str(), &status) != 0 || status.st_nlink == 2) return {};
  std::vector<std::string> children;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error))
    if (entry->is_directory(error) && !entry->is_symlink(error)) children.push_back(entry->path().string());
  return children;
}

void append_processes(std::string_view text, std::vector<int>& processes) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int process = 0;
    const auto [stop, error] = std::from_chars(at, end, process);
    if (error == std::errc()) processes.push_back(process);
    at = std::find(stop, end, '\n');
    if (at != end) ++at;
  }
}

Result<void> collect(const std::string& directory, std::vector<int>& processes) {
  auto text = read_file(directory + "/cgroup.procs");
  if (text) append_processes(*text, processes);
  // A threaded group answers EOPNOTSUPP; its processes are listed by the group above it.
  if (!text && says_gone(text.error().code)) return {};
  if (!text && text.error().code != EOPNOTSUPP) return std::unexpected(text.error());
  for (const std::string& child : child_groups(directory))
    if (auto below = collect(child, processes); !below) return below;
  return {};
}

void disable_controllers(const std::string& directory) {
  for (const char* controller : {"-memory", "-pids"})
    ignore_failure(
        write_file(directory + "/cgroup.subtree_control", controller));  // refused: the move will say so
}

/// One round over one hierarchy; success when nothing of the instance is left in it.
Result<void> clear_once(const InstancePaths& paths, const ClearOptions& options) {
  const std::string& killed = options.spare_supervisor ? paths.workers : paths.top;
  auto processes = processes_below(killed);
  if (!processes) return std::unexpected(processes.error());
  signal_each(*processes, SIGKILL, options.spared);
  thaw_below(paths.top);  // a frozen task of version 1 dies only once it is thawed
  if (auto removed = remove_below(paths.workers); !removed) return removed;
  // The guardian itself may sit in the leaf.
  if (const auto leaf = processes_below(paths.supervisor);
      leaf && std::ranges::find(*leaf, ::getpid()) != leaf->end())
    if (auto left = leave_leaf(paths, paths.parent, ::getpid()); !left) return left;
  return remove_below(paths.top);
}

}  // namespace

Result<std::vector<int>> processes_below(const std::string& directory) {
  std::vector<int> processes;
  if (auto done = collect(directory, processes); !done) return std::unexpected(done.error());
  return processes;
}

void signal_each(const std::vector<int>& processes, int signal, const std::vector<int>& spared) {
  for (const int process : processes)
    if (process > 1 && process != ::getpid() && std::ranges::find(spared, process) == spared.end())
      ::kill(process, signal);
}

void thaw_below(const std::string& directory) {
  for (const std::string& child : child_groups(directory)) thaw_below(child);
  for (const auto& [file, word] : {std::pair{"/freezer.state", "THAWED"}, std::pair{"/cgroup.freeze", "0"}})
    if (::access((directory + file).c_str(), W_OK) == 0) ignore_failure(write_file(directory + file, word));
}

Result<void> remove_below(const std::string& directory) {
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  const int refused = errno;
  const auto children = child_groups(directory);
  if (children.empty()) return system_failure("rmdir " + directory, refused);
  for (const std::string& child : children)
    if (auto removed = remove_below(child); !removed) return removed;
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  return system_failure("rmdir " + directory, errno);
}

Result<void> leave_leaf(const InstancePaths& paths, const std::string& former, int process) {
  const std::string entrance = former + "/cgroup.procs";
  auto moved = write_file(entrance, std::to_string(process));
  if (moved || moved.error().code != EBUSY) return moved;
  for (const std::string& child : child_groups(former))
    if (child != paths.top) return moved;
  disable_controllers(paths.top);
  disable_controllers(former);
  return write_file(entrance, std::to_string(process));
}

Result<void> clear_instance(const std::vector<InstancePaths>& all, const ClearOptions& options) {
  // Chains of processes that fork and end outrun every list of them: from here on nobody may fork.
  for (const InstancePaths& paths : all) ignore_failure(write_file(paths.workers + "/pids.max", "0"));
  const auto deadline = Clock::now() + options.patience;
  for (auto pause = std::chrono::milliseconds(1);;
       pause = std::min(2 * pause, std::chrono::milliseconds(16))) {
    Result<void> outcome;
    for (const InstancePaths& paths : all) {
      if (::access(paths.top.c_str(), F_OK) != 0) continue;
      if (auto cleared = clear_once(paths, options); !cleared) outcome = cleared;
    }
    // EBUSY passes when the killed are gone; nothing else does.
    if (outcome || outcome.error().code != EBUSY || Clock::now() >= deadline) return outcome;
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace kurultai
