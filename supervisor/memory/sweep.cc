#include "supervisor/memory/sweep.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <thread>
#include <unordered_set>

#include "supervisor/memory/cgroup_file.h"

namespace kurultai {
namespace {

using Clock = std::chrono::steady_clock;

bool has_mark(std::string_view environment, std::string_view mark) {
  while (!environment.empty()) {
    const std::size_t end = std::min(environment.find('\0'), environment.size());
    if (environment.substr(0, end) == mark) return true;
    environment.remove_prefix(std::min(end + 1, environment.size()));
  }
  return false;
}

std::unordered_set<int> with_ancestors(const std::vector<ProcessState>& processes, std::vector<int> spared) {
  std::unordered_set<int> all(spared.begin(), spared.end());
  for (int pid = ::getpid(); pid > 0 && all.insert(pid).second;) {
    const auto process =
        std::ranges::find(processes, pid, [](const ProcessState& one) { return one.id.pid; });
    pid = process == processes.end() ? 0 : process->parent;
  }
  return all;
}

struct Search {
  std::vector<ProcessState> marked;
  std::set<int> groups;  // process groups of the marked with nobody else in them
};

/// Those of `processes` that have the mark. One that went away before we looked is neither marked nor a
/// stranger.
std::vector<ProcessId> marked_ones(const std::string& proc_root, const std::vector<ProcessState>& processes,
                                   const std::string& mark, std::uint64_t since,
                                   std::unordered_set<int>& vanished) {
  std::vector<ProcessId> found;
  for (const ProcessState& process : processes) {
    if (process.id.start < since) continue;
    const auto environment = read_file(proc_root + "/" + std::to_string(process.id.pid) + "/environ");
    if (environment && has_mark(*environment, mark)) found.push_back(process.id);
    if (!environment && is_gone(environment.error())) vanished.insert(process.id.pid);
  }
  return found;
}

Result<Search> search(const std::string& proc_root, const std::string& instance,
                      const std::vector<int>& spared, std::uint64_t since = 0) {
  auto processes = all_processes(proc_root);
  if (!processes) return std::unexpected(processes.error());
  const auto never = with_ancestors(*processes, spared);
  std::unordered_set<int> no_strangers;
  const std::string mark = std::string(instance_mark) + "=" + instance;
  auto roots = marked_ones(proc_root, *processes, mark, since, no_strangers);
  std::erase_if(roots, [&](const ProcessId& root) { return never.contains(root.pid); });
  auto tree = walk_tree(proc_root, roots);
  if (!tree) return std::unexpected(tree.error());

  Search result;
  for (const ProcessState& process : *tree)
    if (!never.contains(process.id.pid)) result.marked.push_back(process);
  for (const ProcessState& process : result.marked) {
    result.groups.insert(process.group);
    no_strangers.insert(process.id.pid);
  }
  for (const ProcessState& process : *processes)
    if (!no_strangers.contains(process.id.pid)) result.groups.erase(process.group);
  return result;
}

}  // namespace

Result<std::vector<ProcessState>> find_marked(const std::string& proc_root, const std::string& instance,
                                              const std::vector<int>& spared, std::uint64_t since) {
  auto found = search(proc_root, instance, spared, since);
  if (!found) return std::unexpected(found.error());
  return std::move(found->marked);
}

Result<void> sweep_marked(const std::string& proc_root, const std::string& instance,
                          std::chrono::milliseconds patience, const std::vector<int>& spared) {
  const char* own = std::getenv(instance_mark);
  if (own && instance == own)
    return failure(std::string(instance_mark) + "=" + instance + " is in our own environment");
  const auto deadline = Clock::now() + patience;
  for (auto pause = std::chrono::milliseconds(1);;
       pause = std::min(2 * pause, std::chrono::milliseconds(16))) {
    auto found = search(proc_root, instance, spared);
    if (!found) return std::unexpected(found.error());
    const auto& marked = found->marked;
    if (marked.empty()) return {};
    // What is stopped cannot fork, so the next search sees all there is.
    for (const int group : found->groups) stop_group(group);
    for (const ProcessState& process : marked) signal_process(proc_root, process.id, SIGSTOP);
    for (const ProcessState& process : marked) signal_process(proc_root, process.id, SIGKILL);
    if (Clock::now() >= deadline)
      return failure("processes of " + instance + " that do not die: " + std::to_string(marked.size()),
                     ETIMEDOUT);
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace kurultai
