// How bubblewrap is asked for a sandbox: a read-only root, a writable working directory, a /tmp of its own,
// no other processes to be seen and, unless it is allowed, no network. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"

namespace kurultai {

/// The descriptor by which kurultai-worker is executed inside: its path may not lead there.
inline constexpr int inside_fd = 4;

struct SandboxPlan {
  bool network = false;
  bool is_root = false;                  // uid 0, which keeps its capabilities unless they are dropped
  std::string cwd = {};                  // absolute; writable. Empty: none is
  std::string home = {};                 // a private one, writable; empty: none
  std::optional<Bytes> tmp = {};         // of /tmp; absent: as much as the worker's cap allows
  std::vector<std::string> hidden = {};  // directories that are empty inside: the supervisor's own state
  std::string masked = {};    // a file that cannot be used inside: the supervisor's socket; empty: none
  std::string payloads = {};  // a directory that is seen though it is hidden; empty: none
};

/// The words before a command. It runs in a pid namespace of its own, under bwrap and its init; inside, this
/// very program gives it back the signals that bwrap itself is to ignore: the SIGTERM that a whole tree is
/// sent would end bwrap first, and the command with it before its grace is over.
std::vector<std::string> sandbox_words(const SandboxPlan& plan);

}  // namespace kurultai
