// From a started process to the command that it is meant to be: groups, limits, privileges, exec. Failures
// are one line on stderr that starts with `kurultai-worker: ` and an exit status of their own, so that the
// reader can tell them from the command's. Single-threaded.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.h"
#include "worker/place.h"

namespace kurultai {

// Exit statuses of the launcher itself, as of env(1), nice(1) and timeout(1).
inline constexpr int exit_undead = 124;  // a process outlived SIGKILL: the whole group must be killed
inline constexpr int exit_launch_failed = 125;
inline constexpr int exit_not_executable = 126;
inline constexpr int exit_not_found = 127;

/// What the command gets. An absent value means: as inherited.
struct Launch {
  struct Identity {
    uid_t uid;
    gid_t gid;
  };
  std::string oom_score_adj;         // decimal
  std::optional<int> nice;           // of the launcher or host itself too
  std::optional<rlim_t> limit_data;  // bytes, soft and hard
  std::optional<rlim_t>
      open_files;  // soft limit only, as systemd does: select() breaks above 1024 descriptors
  std::optional<Identity> identity;  // with it the supplementary groups are dropped too
  std::string cwd;
  PlacePlan place;
  // Of furnish(): what it is mounted with, and the words that come before the command.
  std::optional<TmpMount> tmp_mount;
  std::vector<std::string> before;
};

/// Which step failed on what. Plain pointers into the caller's strings: it is filled in where nothing may be
/// allocated.
struct Mishap {
  const char* step = nullptr;
  const char* object = nullptr;
  int code = 0;  // errno

  int exit_status() const;
};

/// `exec NAME: No such file or directory`
std::string to_string(const Mishap& mishap);

/// Writes `kurultai-worker: MESSAGE` to stderr.
void complain(std::string_view message);

/// What holds for every mode and for all that is started later: joins the groups (a memory charge made before
/// would stay behind), the niceness, default signals, a session of its own, no core files, umask 077, no
/// inherited descriptors above 2.
Result<void> enter(const std::vector<std::string>& groups, std::optional<int> nice = {});

/// Leaves a directory open as descriptor 3 for what is started later, which may not be allowed to pass
/// through those above it. Empty: nothing. To be called after enter(), while 3 is free.
Result<void> leave_open(const std::string& directory);

/// Asks for `signal` when `parent` ends; false when it has ended already.
bool bind_to_parent(pid_t parent, int signal);

/// For the command inside a sandbox: the signals that `become` kept from bwrap act again. Returns only when
/// there is no command (0), or on failure.
int become_inside(char* const argv[]);

/// Replaces this process by the command. Returns only on failure. Ends the process when `parent` is gone.
/// `argv` has `launch.before` in it already.
Mishap become(const Launch& launch, pid_t parent, char* const argv[]);

/// `launch.before`, and the command; pointers into both, null at the end.
std::vector<char*> whole_command(const Launch& launch, const std::vector<char*>& argv);

/// For who ends as its command did: dies of the same signal, else returns the exit status. `status` is of
/// wait(2).
int end_like(int status);

/// Starts the command as a child, in a process group of its own, bound to this process by PDEATHSIG. As fast
/// as posix_spawn: the child borrows this process's memory until it has executed or failed, so this returns
/// the child's own error without a pipe. `in` and `out` become its stdin and stdout; -1 leaves them as they
/// are.
std::expected<pid_t, Mishap> spawn(const Launch& launch, int in, int out, const std::vector<char*>& argv);

}  // namespace kurultai
