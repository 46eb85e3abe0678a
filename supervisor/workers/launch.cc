#include "supervisor/workers/launch.h"

#include <pwd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

namespace kurultai {

namespace {

constexpr std::string_view instance_variable = "KURULTAI_INSTANCE";

constexpr std::array<std::string_view, 10> passed = {"PATH", "HOME", "USER",   "LOGNAME", "SHELL",
                                                     "TERM", "TZ",   "TMPDIR", "LANG",    "LANGUAGE"};

bool passes(std::string_view name, const AgentConfig& agent) {
  if (name.starts_with("LC_") || std::ranges::find(passed, name) != passed.end()) return true;
  return std::ranges::any_of(agent.env_pass,
                             [&](const std::string& wanted) { return wanted == "*" || wanted == name; });
}

std::map<std::string, std::string> environment_of(const LaunchInput& input) {
  std::map<std::string, std::string> result;
  for (const std::string& entry : input.environment) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos) continue;
    const std::string_view name = std::string_view(entry).substr(0, equals);
    const bool leads_home = has_private_home(*input.agent) && name.starts_with("XDG_");
    if (passes(name, *input.agent) && !leads_home) {
      result[entry.substr(0, equals)] = entry.substr(equals + 1);
    }
  }
  if (input.user) {
    result["HOME"] = input.user->home.empty() ? "/" : input.user->home;
    for (const char* name : {"USER", "LOGNAME"}) result[name] = input.user->name;
  }
  const std::string& home = input.agent->home;
  if (!home.empty() && !has_private_home(*input.agent)) result["HOME"] = home;
  const auto heap = std::max<std::int64_t>(64, input.memory_limit.count / 4 * 3 / (1024 * 1024));
  result["NODE_OPTIONS"] = "--max-old-space-size=" + std::to_string(heap);
  result["WORKER_ID"] = input.worker_id;
  for (const auto& [name, value] : input.agent->env)
    if (value.file.empty()) result[name] = value.text;
  result[std::string(instance_variable)] =
      input.instance;  // by this mark the guardian finds what outlived its worker
  return result;
}

void add_place(const LaunchInput& input, std::vector<std::string>& argv) {
  const AgentConfig& agent = *input.agent;
  const bool sandboxed = agent.sandbox.kind == SandboxKind::bubblewrap;
  for (const auto& [name, value] : agent.env) {
    if (!value.file.empty() && name != instance_variable)
      argv.insert(argv.end(), {"--secret", name + "=" + value.file});
  }
  if (has_place(agent)) argv.insert(argv.end(), {"--place", input.place});
  if (has_private_home(agent)) argv.insert(argv.end(), {"--home", std::string(private_home)});
  if (agent.tmp.is_private) argv.insert(argv.end(), {"--tmp", std::to_string(agent.tmp.size.count)});
  const bool mounts = agent.tmp.is_private && !sandboxed && input.tmp != TmpRight::directory;
  if (mounts) argv.insert(argv.end(), {"--tmp-by", input.tmp == TmpRight::root ? "root" : "userns"});
  if (sandboxed) argv.insert(argv.end(), {"--sandbox", agent.sandbox.network ? "network" : "none"});
  // Another user gets to none of them anyway, nor could bwrap, which runs as that user.
  if (input.user) return;
  if (sandboxed && !input.state.empty()) argv.insert(argv.end(), {"--hide", input.state});
  if (sandboxed && !input.socket.empty()) argv.insert(argv.end(), {"--mask", input.socket});
  if ((sandboxed || mounts) && !is_hosted(agent.protocol) && !input.payloads.empty())
    argv.insert(argv.end(), {"--show-payloads", input.payloads});
}

}  // namespace

uv::SpawnOptions launch_options(const LaunchInput& input) {
  const AgentConfig& agent = *input.agent;
  const bool hosted = is_hosted(agent.protocol);
  uv::SpawnOptions options;
  auto& argv = options.argv;
  argv = {input.launcher};
  const auto& group = input.group_options;
  // A host holds its tree together itself: it needs no holder above it.
  std::ranges::copy_if(group, std::back_inserter(argv),
                       [&](const auto& word) { return !(hosted && word == "--hold"); });
  argv.insert(argv.end(), {"--oom-score-adj", std::to_string(input.oom_score_adj)});
  if (input.nice) argv.insert(argv.end(), {"--nice", std::to_string(*input.nice)});
  argv.insert(argv.end(), {"--parent", std::to_string(input.supervisor_pid)});
  if (input.user) {
    argv.insert(argv.end(),
                {"--uid", std::to_string(input.user->uid), "--gid", std::to_string(input.user->gid)});
  }
  if (input.user && !hosted && !input.payloads.empty())
    argv.insert(argv.end(), {"--payloads", input.payloads});
  if (!agent.cwd.empty()) argv.insert(argv.end(), {"--cwd", agent.cwd});
  add_place(input, argv);
  if (agent.protocol == AgentProtocol::exec) {
    argv.emplace_back("--exec-host");
  } else {
    if (hosted) {
      argv.emplace_back("--mcp-host");
    } else if (std::ranges::find(group, "--hold") == group.end()) {
      argv.emplace_back("--become");
    }
    argv.emplace_back("--");
    argv.insert(argv.end(), agent.command.begin(), agent.command.end());
  }
  for (const auto& [name, value] : environment_of(input))
    options.environment.emplace_back(name).append("=").append(value);
  return options;
}

std::string payload_path(const std::string& file, bool own_user) {
  return own_user ? file : "/proc/self/fd/3/" + file.substr(file.rfind('/') + 1);
}

Result<User> look_up_user(const std::string& user) {
  unsigned uid = 0;
  const char* end = user.data() + user.size();
  const auto [rest, code] = std::from_chars(user.data(), end, uid);
  const bool numeric = code == std::errc() && rest == end;
  errno = 0;
  const passwd* entry = numeric ? ::getpwuid(uid) : ::getpwnam(user.c_str());
  if (entry != nullptr) return User{entry->pw_uid, entry->pw_gid, entry->pw_name, entry->pw_dir};
  if (numeric) return User{uid, uid, "", ""};
  return failure("user " + user + ": there is no such user on this machine");
}

}  // namespace kurultai
