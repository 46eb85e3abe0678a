// How a worker is started: the command line of kurultai-worker and the environment of the agent. Pure, but
// for the look-up of a user's name.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "protocol/oom_order.h"
#include "supervisor/uv/process.h"
#include "supervisor/workers/places.h"

namespace kurultai {

struct User {
  unsigned uid = 0;
  unsigned gid = 0;
  std::string name;  // empty: has none
  std::string home;
};

struct LaunchInput {
  std::string launcher;  // path of kurultai-worker
  std::string instance;
  std::string worker_id;
  const AgentConfig* agent = nullptr;
  Bytes memory_limit;
  std::vector<std::string> group_options;  // from WorkerGroup::launch_options
  std::optional<User> user;                // absent: the supervisor's own
  std::optional<int> nice;                 // absent: as the supervisor's own
  // Above what programs have by default (0), so that on a machine short of memory the kernel takes an agent
  // before anything that is not Kurultai's.
  int oom_score_adj = usual_oom_score_adj;
  int supervisor_pid = 0;
  std::vector<std::string> environment;  // the supervisor's own
  std::string payloads;                  // directory of payloads that came as bytes
  std::string place;                     // its own directory, for a private home or tmp
  TmpRight tmp = TmpRight::directory;
  std::string state;   // the supervisor's directory, which a sandbox hides; empty: none
  std::string socket;  // the same of its socket
};

/// Agents get, of the supervisor's environment, what names places and languages (PATH HOME USER LOGNAME SHELL
/// TERM TZ TMPDIR LANG LANGUAGE LC_*) and what `env_pass` names; then WORKER_ID, KURULTAI_INSTANCE,
/// NODE_OPTIONS with a heap limit of three quarters of the cap (V8 needs the rest for code, stacks and
/// buffers), and last `env`; what of it stands in files, HOME where it is private, the XDG directories in it
/// and TMPDIR are set by the launcher.
uv::SpawnOptions launch_options(const LaunchInput& input);

/// Where an agent finds the payload `file`. One of another user cannot pass through the state directory: its
/// launcher leaves it descriptor 3, which is the directory, and /proc leads there from inside the agent.
std::string payload_path(const std::string& file, bool own_user);

/// "name" or "uid" from the system's database. May read files or ask a server: not for every worker.
Result<User> look_up_user(const std::string& user);

}  // namespace kurultai
