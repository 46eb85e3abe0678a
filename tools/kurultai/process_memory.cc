#include "tools/kurultai/process_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <vector>

namespace kurultai {
namespace {

// Of a tree that forks without end the rest is left out.
constexpr std::size_t most_processes = 4096;

std::string text_of(const std::string& file) {
  std::ifstream stream(file);
  std::ostringstream text;
  text << stream.rdbuf();
  return std::move(text).str();
}

std::string directory_of(const std::string& proc_root, int pid) {
  return proc_root + "/" + std::to_string(pid);
}

struct Identity {
  char state = 'X';
  std::uint64_t start = 0;
};

/// Of /proc/PID/stat; the name before the fields may hold blanks and parentheses.
std::optional<Identity> identity_of(const std::string& stat) {
  static constexpr int fields_before_start = 18;  // parent to itrealvalue, proc(5)
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(name_end + 1));
  Identity identity;
  fields >> identity.state;
  std::string skipped;
  for (int i = 0; i < fields_before_start; ++i) fields >> skipped;
  fields >> identity.start;
  return fields ? std::optional(identity) : std::nullopt;
}

/// A leader that ended before its threads is a zombie that lives, so memory decides for it.
std::optional<Identity> living(const std::string& proc_root, int pid) {
  const auto identity = identity_of(text_of(directory_of(proc_root, pid) + "/stat"));
  if (!identity || identity->state == 'X' || identity->state == 'Z') return std::nullopt;
  return identity;
}

void add_children(const std::string& proc_root, int pid, std::vector<int>& tree) {
  std::error_code error;
  std::filesystem::directory_iterator thread(directory_of(proc_root, pid) + "/task", error);
  for (const std::filesystem::directory_iterator end; !error && thread != end; thread.increment(error)) {
    std::istringstream children(text_of(thread->path().string() + "/children"));
    for (int child = 0; children >> child && tree.size() < most_processes;) tree.push_back(child);
  }
}

struct Pages {
  std::int64_t own = 0;
  std::int64_t shared = 0;
};

Pages pages_of(const std::string& proc_root, int pid) {
  std::istringstream statm(text_of(directory_of(proc_root, pid) + "/statm"));
  std::int64_t size = 0, resident = 0, shared = 0;
  if (!(statm >> size >> resident >> shared)) return {};
  return {resident - shared, shared};
}

}  // namespace

Result<WatchedProcess> WatchedProcess::find(int pid, std::string proc_root) {
  const auto identity = living(proc_root, pid);
  if (!identity) return failure("no process " + std::to_string(pid), ESRCH);
  return WatchedProcess(pid, identity->start, std::move(proc_root));
}

std::optional<Bytes> WatchedProcess::read() const {
  std::vector<int> tree{pid_};
  Pages sum;
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const Pages pages = pages_of(proc_root_, tree[i]);
    sum.own += pages.own;
    sum.shared = std::max(sum.shared, pages.shared);
    add_children(proc_root_, tree[i], tree);
  }
  // Asked last: had it ended before the pages were read, they would be those of nobody.
  const auto identity = living(proc_root_, pid_);
  if (!identity || identity->start != start_) return std::nullopt;
  return Bytes{(sum.own + sum.shared) * sysconf(_SC_PAGESIZE)};
}

}  // namespace kurultai
