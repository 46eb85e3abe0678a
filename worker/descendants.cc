#include "worker/descendants.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "worker/fd.h"

namespace kurultai {
namespace {

std::optional<std::string> read_file(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::string text;
  char buffer[4096];
  for (ssize_t count = 0; (count = ::read(file.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, count);
  return text;
}

/// The numbers that a directory of /proc holds.
std::vector<pid_t> ids_in(const std::string& directory) {
  std::vector<pid_t> ids;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
    const std::string_view name = entry->d_name;
    pid_t id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error == std::errc{} && end == name.data() + name.size()) ids.push_back(id);
  }
  return ids;
}

/// 0 when there is no such process.
pid_t parent_of(pid_t pid) {
  const auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  // `PID (NAME) STATE PPID …`, and the name may hold anything, `)` included.
  const std::size_t name_end = stat ? stat->rfind(')') : std::string::npos;
  if (name_end == std::string::npos || name_end + 4 > stat->size()) return 0;
  pid_t parent = 0;
  std::from_chars(stat->data() + name_end + 4, stat->data() + stat->size(), parent);
  return parent;
}

void append_numbers(std::string_view text, std::vector<pid_t>& numbers) {
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end; ++at) {
    pid_t number = 0;
    const auto [stop, error] = std::from_chars(at, end, number);
    if (error != std::errc{}) continue;
    numbers.push_back(number);
    at = stop;
  }
}

/// For kernels without CONFIG_PROC_CHILDREN.
std::vector<pid_t> children_by_scan(pid_t pid) {
  std::vector<pid_t> children = ids_in("/proc");
  std::erase_if(children, [pid](pid_t candidate) { return parent_of(candidate) != pid; });
  return children;
}

std::vector<pid_t> children_of(pid_t pid) {
  static const bool listed = ::access("/proc/thread-self/children", R_OK) == 0;
  if (!listed) return children_by_scan(pid);
  std::vector<pid_t> children;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const pid_t thread : ids_in(tasks)) {
    if (const auto list = read_file(tasks + "/" + std::to_string(thread) + "/children"))
      append_numbers(*list, children);
  }
  return children;
}

/// A child of ours keeps its number until we reap it. One further down may have been reaped by its parent and
/// its number given away: hold it by a pidfd first, look at its parent then, signal what the pidfd holds.
bool signal_exactly(pid_t pid, pid_t parent, int signal) {
  const pid_t self = ::getpid();
  if (parent == self) return ::kill(pid, signal) == 0;
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process && errno != ENOSYS) return false;
  const pid_t now = parent_of(pid);
  if (now != parent && now != self) return false;
  if (!process) return ::kill(pid, signal) == 0;
  return ::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) == 0;
}

struct Reaped {
  int count = 0;
  int killed = 0;
  bool none_left = false;
};

Reaped reap() {
  Reaped reaped;
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG | __WALL);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return reaped.none_left = pid < 0, reaped;
    ++reaped.count;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ++reaped.killed;
  }
}

void await_child(Duration pause) {
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  const timespec time{pause.count() / 1000, pause.count() % 1000 * 1'000'000};
  ::sigtimedwait(&children, nullptr, &time);
}

/// Where the right to it is given, the sweep goes ahead of what it has to catch: many processes that fork
/// leave little time to one that does not.
class Haste {
 public:
  Haste() : usual_(::getpriority(PRIO_PROCESS, 0)) { ::setpriority(PRIO_PROCESS, 0, -20); }
  Haste(const Haste&) = delete;
  Haste& operator=(const Haste&) = delete;
  ~Haste() { ::setpriority(PRIO_PROCESS, 0, usual_); }

 private:
  int usual_;
};

}  // namespace

void signal_descendants(int signal) {
  std::vector<pid_t> parents = {::getpid()};
  while (!parents.empty()) {
    const pid_t parent = parents.back();
    parents.pop_back();
    for (const pid_t child : children_of(parent)) {
      if (signal_exactly(child, parent, signal)) parents.push_back(child);
    }
  }
}

std::optional<int> sweep(Duration patience) {
  using std::chrono::steady_clock;
  const Haste haste;
  const auto deadline = steady_clock::now() + patience;
  int killed = 0;
  for (Duration pause{1};;) {
    signal_descendants(SIGKILL);
    const Reaped reaped = reap();
    killed += reaped.killed;
    if (reaped.none_left) return killed;
    if (steady_clock::now() > deadline) return std::nullopt;
    if (reaped.count > 0) pause = Duration{1};
    await_child(pause);
    pause = std::min(pause * 2, Duration{50});
  }
}

}  // namespace kurultai
