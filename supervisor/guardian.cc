#include "supervisor/guardian.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "supervisor/memory/cgroup_file.h"
#include "supervisor/memory/group_tree.h"
#include "supervisor/memory/sweep.h"
#include "supervisor/store/remove_tree.h"

namespace kurultai {
namespace {

constexpr char done_word = 'd';

// Together below the 3 s after which a supervisor's workers have to be gone.
constexpr std::chrono::milliseconds group_patience{1800};
constexpr std::chrono::milliseconds sweep_patience{800};
constexpr std::chrono::milliseconds places_patience{
    150};  // for each of two; at a proper end, with nothing to kill:
constexpr std::chrono::milliseconds places_patience_at_end{1000};

void complain(const Error& error) { std::fprintf(stderr, "kurultai-guard: %s\n", error.message.c_str()); }

/// Everything but stderr, the pipe and the lock: a kept fd would keep a socket, a pipe or a terminal alive.
void close_others(std::vector<int> kept) {
  kept.push_back(STDERR_FILENO);
  std::ranges::sort(kept);
  unsigned next = 0;
  for (const int fd : kept) {
    if (fd < 0 || static_cast<unsigned>(fd) < next) continue;
    if (static_cast<unsigned>(fd) > next) ::syscall(SYS_close_range, next, static_cast<unsigned>(fd) - 1, 0);
    next = static_cast<unsigned>(fd) + 1;
  }
  ::syscall(SYS_close_range, next, ~0U, 0);
}

void settle_in(const std::vector<int>& kept) {
  ::setsid();
  ::prctl(PR_SET_NAME, "kurultai-guard");
  for (const int ignored : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT}) ::signal(ignored, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  close_others(kept);
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO})
    if (null >= 0 && std::ranges::find(kept, fd) == kept.end()) ::dup2(null, fd);
  if (null > STDERR_FILENO) ::close(null);
  (void)!::chdir("/");
  // Where the machine runs out of memory, who clears up should be the last to go.
  ignore_failure(write_file("/proc/self/oom_score_adj", "-900"));
}

/// Blocks until nobody holds the other end; whether it said `done`.
bool wait_for_end(int pipe) {
  bool done = false;
  for (char word = 0;;) {
    const ssize_t count = ::read(pipe, &word, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return done;
    done = done || word == done_word;
  }
}

void remove_directory(const std::string& directory) {
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (error) complain({"remove " + directory + ": " + error.message()});
}

void remove_left(const GuardianTask& task, std::chrono::milliseconds patience) {
  if (::geteuid() == 0) remove_left_in_memory(task.users, patience);
  for (const std::string& places : task.places)
    if (!places.empty()) remove_tree(places, patience);
  if (!task.remove_dir.empty()) remove_directory(task.remove_dir);
}

void clear_up(const GuardianTask& task, const std::vector<InstancePaths>& groups, bool done) {
  // A supervisor that said `done` may still be on its way out with an exit status of its own: spare it.
  if (auto cleared = clear_instance(groups, {{}, done, group_patience}); !cleared) complain(cleared.error());
  if (!done)
    if (auto swept = sweep_marked(task.groups.proc_root, task.groups.instance, sweep_patience); !swept)
      complain(swept.error());
  remove_left(task, done ? places_patience_at_end : places_patience);
}

struct Pipe {
  Fd reading, writing;
  static Result<Pipe> make() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return system_failure("pipe of the guardian", errno);
    return Pipe{Fd(ends[0]), Fd(ends[1])};
  }
};

[[noreturn]] void guard(const GuardianTask& task, const std::vector<InstancePaths>& groups, Pipe life,
                        Pipe ready) {
  life.writing.reset();
  settle_in({life.reading.get(), ready.writing.get(), task.lock_fd});
  ready.writing.reset();
  const bool done = wait_for_end(life.reading.get());
  clear_up(task, groups, done);
  ::_exit(0);
}

bool may_be_removed(const std::string& directory) {
  if (directory.empty()) return true;
  const std::filesystem::path path(directory);
  return path.is_absolute() && path.lexically_normal().relative_path() != "";
}

}  // namespace

void Guardian::done() {
  if (!pipe_.is_open()) return;
  (void)!::write(pipe_.get(), &done_word, 1);
}

bool Guardian::is_there() {
  is_gone_ = is_gone_ || ::waitpid(pid_, nullptr, WNOHANG) != 0;
  return !is_gone_;
}

void clear_without_guardian(const GuardianTask& task) { remove_left(task, places_patience_at_end); }

Result<Guardian> start_guardian(const GuardianTask& task) {
  if (!may_be_removed(task.remove_dir))
    return failure("guardian: '" + task.remove_dir + "' is not to be removed");
  const auto groups = all_instance_paths(task.groups);
  auto life = Pipe::make();
  if (!life) return std::unexpected(life.error());
  auto ready = Pipe::make();
  if (!ready) return std::unexpected(ready.error());
  const pid_t pid = ::fork();
  if (pid < 0) return system_failure("fork of the guardian", errno);
  if (pid == 0) guard(task, groups, std::move(*life), std::move(*ready));
  // Only once it has left our session and ignores what ends us does it guard anything.
  ready->writing.reset();
  wait_for_end(ready->reading.get());
  return Guardian(std::move(life->writing), pid);
}

}  // namespace kurultai
