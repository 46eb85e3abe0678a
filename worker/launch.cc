#include "worker/launch.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <memory>
#include <system_error>

#include "worker/fd.h"
#include "worker/sandbox.h"

namespace kurultai {
namespace {

Result<void> join(const std::string& file) {
  const Fd procs(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  // "0" is the writer itself, in cgroup v1 and v2 alike.
  if (!procs || ::write(procs.get(), "0", 1) != 1) return system_failure("join " + file, errno);
  return {};
}

void close_inherited() {
#ifdef SYS_close_range
  // Before Linux 5.9 this fails, and what the supervisor forgot to mark close-on-exec stays open.
  ::syscall(SYS_close_range, 3U, UINT_MAX, 0U);
#endif
}

void reset_signals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// ---- From here on: also runs in the child of spawn(), in the memory of its parent. Nothing but system
// calls.

// Best effort: with a read-only /proc the kernel's choice is less good, and the caps hold all the same.
void set_oom_score_adj(const std::string& value) {
  if (value.empty()) return;
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t written = ::write(fd, value.data(), value.size());
  ::close(fd);
}

bool set_identity(const Launch::Identity& identity) {
  return ::setgroups(0, nullptr) == 0 && ::setresgid(identity.gid, identity.gid, identity.gid) == 0 &&
         ::setresuid(identity.uid, identity.uid, identity.uid) == 0;
}

bool set_open_files(rlim_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/// This program, for whoever is inside the sandbox; and SIGTERM is not for bwrap, which would end at once,
/// but for what it runs.
bool prepare_for_inside() {
  const int own = ::open("/proc/self/exe", O_PATH);  // it may be the very number
  if (own < 0) return false;
  if (own != inside_fd) {
    if (::dup2(own, inside_fd) < 0) return false;
    ::close(own);
  }
  ::signal(SIGTERM, SIG_IGN);
  return true;
}

/// What this program itself ignores and blocks. All others are as enter() left them, and a handler does not
/// outlive exec: to reset every one of them costs 64 system calls a command.
void restore_signals() {
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGXFSZ, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

struct Child {
  const Launch& launch;
  pid_t parent;
  int in, out;
  char* const* argv;
  Mishap mishap;
};

int run_child(void* argument) {
  auto& child = *static_cast<Child*>(argument);
  // `kill 0` in the command must not reach its host. No session of its own: with CONFIG_SCHED_AUTOGROUP the
  // kernel makes a scheduling group for each, which halves the rate at which short commands can be run.
  ::setpgid(0, 0);
  if (child.in >= 0) ::dup2(child.in, STDIN_FILENO);
  if (child.out >= 0) ::dup2(child.out, STDOUT_FILENO);
  restore_signals();
  child.mishap = become(child.launch, child.parent, child.argv);
  return exit_launch_failed;
}

}  // namespace

int Mishap::exit_status() const {
  if (std::string_view(step) != "exec") return exit_launch_failed;
  return code == ENOENT ? exit_not_found : exit_not_executable;
}

std::string to_string(const Mishap& mishap) {
  std::string text = mishap.step;
  if (mishap.object != nullptr) text.append(" ").append(mishap.object);
  return text + ": " + std::generic_category().message(mishap.code);
}

void complain(std::string_view message) {
  const std::string line = "kurultai-worker: " + std::string(message) + "\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

Result<void> enter(const std::vector<std::string>& groups, std::optional<int> nice) {
  // Ours is that of the supervisor, which comes before all agents. Back to the usual one is always allowed.
  if (nice) ::setpriority(PRIO_PROCESS, 0, *nice);
  for (const std::string& file : groups) {
    if (auto joined = join(file); !joined) return joined;
  }
  close_inherited();
  reset_signals();
  ::setsid();  // fails for the leader of a session, which is what is wanted
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::umask(077);
  return {};
}

Result<void> leave_open(const std::string& directory) {
  if (directory.empty()) return {};
  const int fd = ::open(directory.c_str(), O_PATH | O_DIRECTORY);
  if (fd == 3) return {};
  return fd < 0 ? system_failure("open " + directory, errno)
                : failure("open " + directory + ": descriptor 3 is taken");
}

bool bind_to_parent(pid_t parent, int signal) {
  ::prctl(PR_SET_PDEATHSIG, signal);
  return ::getppid() == parent;
}

Mishap become(const Launch& launch, pid_t parent, char* const argv[]) {
  set_oom_score_adj(launch.oom_score_adj);  // before the uid changes: the file belongs to root after it
  const auto mount_tmp = [&launch](MountRight right) -> const char* {
    return launch.tmp_mount && launch.tmp_mount->right == right ? enter_tmp(*launch.tmp_mount) : nullptr;
  };
  if (const char* failed = mount_tmp(MountRight::root)) return {"tmp", failed, errno};
  if (launch.identity && !set_identity(*launch.identity)) return {"setuid", nullptr, errno};
  if (const char* failed = mount_tmp(MountRight::user_namespace)) return {"tmp", failed, errno};
  // With the rights of the one who is to work there.
  if (!launch.cwd.empty() && ::chdir(launch.cwd.c_str()) != 0) return {"cwd", launch.cwd.c_str(), errno};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return {"no_new_privs", nullptr, errno};
  // After the uid: a change of credentials clears it.
  if (!bind_to_parent(parent, SIGKILL)) ::_exit(exit_launch_failed);
  if (launch.open_files && !set_open_files(*launch.open_files)) return {"nofile", nullptr, errno};
  if (launch.limit_data) {
    const rlimit limit{*launch.limit_data, *launch.limit_data};
    if (::setrlimit(RLIMIT_DATA, &limit) != 0) return {"limit-data", nullptr, errno};
  }
  if (!launch.before.empty() && !prepare_for_inside()) return {"sandbox", nullptr, errno};
  ::execvp(argv[0], argv);
  return {"exec", argv[0], errno};
}

int become_inside(char* const argv[]) {
  reset_signals();
  ::close(inside_fd);
  if (argv[0] == nullptr) return 0;
  ::execvp(argv[0], argv);
  const Mishap mishap{"exec", argv[0], errno};
  return complain(to_string(mishap)), mishap.exit_status();
}

std::vector<char*> whole_command(const Launch& launch, const std::vector<char*>& argv) {
  std::vector<char*> whole;
  whole.reserve(launch.before.size() + argv.size());
  for (const std::string& word : launch.before) whole.push_back(const_cast<char*>(word.c_str()));
  whole.insert(whole.end(), argv.begin(), argv.end());
  return whole;
}

int end_like(int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_UNBLOCK, &all, nullptr);
  ::raise(WTERMSIG(status));
  return 128 + WTERMSIG(status);
}

std::expected<pid_t, Mishap> spawn(const Launch& launch, int in, int out, const std::vector<char*>& argv) {
  // execvp keeps a path and, for a script without `#!`, a copy of argv on the stack. Small enough for the
  // heap: from 128 KiB on it would be mapped and unmapped for each command.
  const std::vector<char*> whole = whole_command(launch, argv);
  const std::size_t size = std::size_t{64} * 1024 + whole.size() * sizeof(char*);
  const std::unique_ptr<char[]> stack(new char[size]);
  char* const top = stack.get() + (size & ~std::size_t{15});
  Child child{launch, ::getpid(), in, out, whole.data(), {}};
  const pid_t pid = ::clone(run_child, top, CLONE_VM | CLONE_VFORK | SIGCHLD, &child);
  if (pid < 0) return std::unexpected(Mishap{"start", whole[0], errno});
  if (child.mishap.step == nullptr) return pid;
  // waitpid reports exactly this child, so the caller never sees it.
  while (::waitpid(pid, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  return std::unexpected(child.mishap);
}

}  // namespace kurultai
