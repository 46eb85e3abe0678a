#include "supervisor/memory/proc.h"

#include <linux/kcmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <map>
#include <unordered_set>

#include "supervisor/memory/cgroup_file.h"

namespace kurultai {
namespace {

template <typename Number>
bool take_number(std::string_view& text, Number& number) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

/// One that counts something: neither negative nor more than any machine has (8 Pi, in kB or pages), so that
/// it can be turned into bytes, and a thousand of them can be added up.
bool take_count(std::string_view& text, std::int64_t& count) {
  return take_number(text, count) && count >= 0 && count <= std::int64_t{1} << 43;
}

void skip_word(std::string_view& text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  text.remove_prefix(std::min(text.find(' '), text.size()));
}

/// Lines like `Pss:    359 kB`.
Result<Bytes> kilobytes(std::string_view text, std::string_view key, const std::string& file) {
  for (std::size_t start = 0; start < text.size();) {
    std::size_t end = std::min(text.find('\n', start), text.size());
    std::string_view line = text.substr(start, end - start);
    if (line.starts_with(key) && line.substr(key.size()).starts_with(':')) {
      line.remove_prefix(key.size() + 1);
      while (line.starts_with('\t')) line.remove_prefix(1);
      std::int64_t number = 0;
      if (take_count(line, number) && line == " kB") return kibibytes(number);
      return failure(file + ": '" + std::string(key) + "' holds no size");
    }
    start = end + 1;
  }
  return failure(file + ": no '" + std::string(key) + "'");
}

std::string process_directory(const std::string& proc_root, int pid) {
  return proc_root + "/" + std::to_string(pid);
}

std::vector<int> numbered_entries(const std::string& directory) {
  std::vector<int> numbers;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int number = 0;
    const auto [stop, failed] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (failed == std::errc() && stop == name.data() + name.size()) numbers.push_back(number);
  }
  return numbers;
}

/// A leader that ended before its threads has no memory of its own to show: look through another thread.
std::string memory_directory(const std::string& proc_root, const ProcessState& process) {
  std::string directory = process_directory(proc_root, process.id.pid);
  if (process.state != 'Z') return directory;
  for (const int thread : numbered_entries(directory + "/task"))
    if (thread != process.id.pid) return directory + "/task/" + std::to_string(thread);
  return directory;
}

/// Children by parent, out of one scan of all processes: for kernels without CONFIG_PROC_CHILDREN.
using Families = std::multimap<int, int>;

class ChildFinder {
 public:
  explicit ChildFinder(const std::string& proc_root) : proc_root_(proc_root) {}

  Result<std::vector<int>> children_of(int pid) {
    if (families_) return scanned(pid);
    const std::string tasks = process_directory(proc_root_, pid) + "/task";
    std::vector<int> children;
    for (const int thread : numbered_entries(tasks)) {
      const std::string task = tasks + "/" + std::to_string(thread);
      auto text = read_file(task + "/children");
      if (text) {
        append(*text, children);
      } else if (!is_gone(text.error())) {
        return std::unexpected(text.error());
      } else if (::access((task + "/stat").c_str(), F_OK) == 0) {
        if (auto done = scan(); !done) return std::unexpected(done.error());
        return scanned(pid);
      }
    }
    return children;
  }

 private:
  static void append(std::string_view text, std::vector<int>& children) {
    for (int child = 0; take_number(text, child);) children.push_back(child);
  }

  Result<void> scan() {
    auto processes = all_processes(proc_root_);
    if (!processes) return std::unexpected(processes.error());
    families_.emplace();
    for (const ProcessState& process : *processes) families_->emplace(process.parent, process.id.pid);
    return {};
  }

  std::vector<int> scanned(int pid) const {
    std::vector<int> children;
    const auto [first, last] = families_->equal_range(pid);
    for (auto family = first; family != last; ++family) children.push_back(family->second);
    return children;
  }

  const std::string& proc_root_;
  std::optional<Families> families_;
};

}  // namespace

bool is_gone(const Error& error) { return error.code == ENOENT || error.code == ESRCH; }

Result<ProcessState> parse_stat(std::string_view text, const std::string& file) {
  static const long ticks_per_second = ::sysconf(_SC_CLK_TCK);
  // PID (COMM) STATE PPID …: COMM may hold anything, blanks and brackets too, so look for its end from
  // behind.
  const auto damaged = [&] { return failure(file + ": not a process's stat line"); };
  ProcessState process;
  if (!take_number(text, process.id.pid)) return damaged();
  const std::size_t name_end = text.rfind(") ");
  if (name_end == std::string_view::npos || name_end + 3 > text.size()) return damaged();
  process.state = text[name_end + 2];
  text.remove_prefix(name_end + 3);
  for (int* number : {&process.parent, &process.group, &process.session})
    if (!take_number(text, *number)) return damaged();
  for (int field = 7; field < 14; ++field) skip_word(text);
  for (int field = 14; field < 18; ++field) {  // utime, stime, cutime, cstime
    std::int64_t ticks = 0;
    if (!take_count(text, ticks)) return damaged();
    process.cpu += std::chrono::microseconds(ticks * (1000000 / ticks_per_second));
  }
  for (int field = 18; field < 20; ++field) skip_word(text);
  if (!take_number(text, process.threads)) return damaged();  // field 20
  skip_word(text);
  if (!take_number(text, process.id.start)) return damaged();  // field 22
  return process;
}

Result<Statm> parse_statm(std::string_view text, const std::string& file) {
  static const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  std::array<std::int64_t, 3> pages{};
  for (std::int64_t& count : pages)
    if (!take_count(text, count)) return failure(file + ": not a statm line");
  return Statm{{pages[0] * page}, {pages[1] * page}, {pages[2] * page}};
}

Result<Proportional> parse_smaps_rollup(std::string_view text, const std::string& file) {
  auto held = kilobytes(text, "Pss", file);
  if (!held) return std::unexpected(held.error());
  // Kernels before 5.3 do not tell them apart.
  const auto anonymous = kilobytes(text, "Pss_Anon", file);
  const auto shared = kilobytes(text, "Pss_Shmem", file);
  if (anonymous && shared) held = *anonymous + *shared;
  auto swap = kilobytes(text, "SwapPss", file);
  if (!swap) return std::unexpected(swap.error());
  return Proportional{*held, *swap};
}

Result<ProcessState> read_process(const std::string& proc_root, int pid) {
  const std::string file = process_directory(proc_root, pid) + "/stat";
  auto text = read_file(file);
  if (!text) return std::unexpected(text.error());
  return parse_stat(*text, file);
}

Result<Statm> read_statm(const std::string& proc_root, const ProcessState& process) {
  const std::string file = memory_directory(proc_root, process) + "/statm";
  auto text = read_file(file);
  if (!text) return std::unexpected(text.error());
  return parse_statm(*text, file);
}

Result<Proportional> read_proportional(const std::string& proc_root, const ProcessState& process) {
  const std::string file = memory_directory(proc_root, process) + "/smaps_rollup";
  auto text = read_file(file);
  if (!text) return std::unexpected(text.error());
  return parse_smaps_rollup(*text, file);
}

Result<OwnMemory> read_own_memory(const std::string& proc_root, const ProcessState& process) {
  const std::string file = memory_directory(proc_root, process) + "/status";
  auto text = read_file(file);
  if (!text) return std::unexpected(text.error());
  if (text->find("VmSwap:") == std::string::npos) return OwnMemory{};  // on its way out, it has none any more
  const auto swap = kilobytes(*text, "VmSwap", file);
  if (!swap) return std::unexpected(swap.error());
  const auto anonymous = kilobytes(*text, "RssAnon", file);
  const auto shared = kilobytes(*text, "RssShmem", file);
  if (!anonymous || !shared) return OwnMemory{std::nullopt, *swap};
  return OwnMemory{*anonymous + *shared, *swap};
}

Result<std::vector<ProcessState>> all_processes(const std::string& proc_root) {
  std::vector<ProcessState> processes;
  for (const int pid : numbered_entries(proc_root)) {
    auto process = read_process(proc_root, pid);
    if (!process && is_gone(process.error())) continue;
    if (!process) return std::unexpected(process.error());
    if (!process->is_dead()) processes.push_back(*process);
  }
  if (processes.empty()) return failure("no process is visible in " + proc_root);
  return processes;
}

Result<std::vector<ProcessState>> walk_tree(const std::string& proc_root, const std::vector<ProcessId>& roots,
                                            std::size_t most) {
  ChildFinder finder(proc_root);
  std::vector<ProcessState> tree;
  std::unordered_set<int> seen;
  const auto visit = [&](int pid, std::optional<std::uint64_t> start) -> Result<void> {
    if (seen.contains(pid)) return {};
    auto process = read_process(proc_root, pid);
    if (!process && is_gone(process.error())) return {};
    if (!process) return std::unexpected(process.error());
    if (process->is_dead() || (start && process->id.start != *start)) return {};
    if (!start && !seen.contains(process->parent)) return {};  // the number is another process's by now
    seen.insert(pid);
    tree.push_back(*process);
    return {};
  };
  for (const ProcessId& root : roots)
    if (auto done = visit(root.pid, root.start); !done) return std::unexpected(done.error());
  for (std::size_t next = 0; next < tree.size() && tree.size() < most; ++next) {
    auto children = finder.children_of(tree[next].id.pid);
    if (!children) return std::unexpected(children.error());
    for (const int child : *children)
      if (auto done = visit(child, std::nullopt); !done) return std::unexpected(done.error());
  }
  return tree;
}

Result<std::vector<ProcessState>> ProcessTree::walk(const std::string& proc_root) const {
  std::vector<ProcessId> roots = known;
  if (root.pid > 0) roots.insert(roots.begin(), root);
  return walk_tree(proc_root, roots);
}

void signal_process(const std::string& proc_root, ProcessId process, int signal) {
  const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  const auto now = read_process(proc_root, process.pid);
  if (!now || now->id != process) return;
  if (handle.is_open())
    ::syscall(SYS_pidfd_send_signal, handle.get(), signal, nullptr, 0);
  else
    ::kill(process.pid, signal);  // before 5.3, or forbidden by a sandbox
}

void stop_group(int group) {
  if (group > 1 && group != ::getpgrp()) ::kill(-group, SIGSTOP);
}

bool shares_memory(const ProcessState& child, const Statm& child_statm, const ProcessState& parent,
                   const Statm& parent_statm) {
  const long order = ::syscall(SYS_kcmp, child.id.pid, parent.id.pid, KCMP_VM, 0, 0);
  if (order >= 0) return order == 0;
  // Not allowed to compare: a parent in vfork sleeps uninterruptibly until its child execs.
  return parent.state == 'D' && child_statm.size == parent_statm.size &&
         child_statm.resident == parent_statm.resident;
}

}  // namespace kurultai
