#include "worker/hold.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "worker/descendants.h"
#include "worker/fd.h"

namespace kurultai {
namespace {

constexpr Duration sweep_patience{5000};

sigset_t block_signals() {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  return watched;
}

/// The agent alone holds the pipes to the supervisor, so that each side sees the other's end.
void let_go_of_pipes() {
  const Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int pipe : {STDIN_FILENO, STDOUT_FILENO}) {
    if (!nothing || ::dup2(nothing.get(), pipe) < 0) ::close(pipe);
  }
}

/// The agent's wait status once it has ended; adopted processes that ended are reaped on the way.
std::optional<int> reap(pid_t agent) {
  int status = 0;
  for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG | __WALL)) != 0;) {
    if (pid == agent) return status;
    if (pid < 0 && errno != EINTR) break;
  }
  return std::nullopt;
}

/// Returns the agent's wait status; nothing when the supervisor is gone.
std::optional<int> wait_for(pid_t agent, pid_t parent, const sigset_t& watched) {
  for (;;) {
    const int signal = ::sigwaitinfo(&watched, nullptr);
    if (signal == SIGTERM && ::getppid() != parent) return std::nullopt;
    if (signal == SIGTERM) ::kill(agent, SIGTERM);
    if (const auto status = reap(agent)) return status;
  }
}

}  // namespace

int hold(const Launch& launch, pid_t parent, const std::vector<char*>& argv) {
  const sigset_t watched = block_signals();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (launch.identity) ::prctl(PR_SET_DUMPABLE, 0);
  if (!bind_to_parent(parent, SIGTERM)) return exit_launch_failed;
  const auto agent = spawn(launch, -1, -1, argv);
  if (!agent) return complain(to_string(agent.error())), agent.error().exit_status();
  let_go_of_pipes();
  const auto status = wait_for(*agent, parent, watched);
  if (!sweep(sweep_patience)) return exit_undead;
  return status ? end_like(*status) : exit_launch_failed;
}

}  // namespace kurultai
