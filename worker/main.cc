// kurultai-worker: what the supervisor starts for each worker. It becomes the agent, holds it, or hosts
// commands or an MCP server.
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "worker/exec_host.h"
#include "worker/hold.h"
#include "worker/launch.h"
#include "worker/mcp_host.h"
#include "worker/place.h"
#include "worker/secrets.h"

namespace kurultai {
namespace {

constexpr std::string_view usage =
    "usage: kurultai-worker [--join FILE]... [--limit-data BYTES] [--oom-score-adj N] [--nice N] "
    "[--uid N --gid N] [--cwd DIR] "
    "[--parent PID] [--nofile N] [--payloads DIR] [--secret NAME=FILE]... [--place DIR] [--home private] "
    "[--tmp BYTES] [--tmp-by root|userns] [--sandbox none|network] [--hide DIR]... [--mask FILE] "
    "[--show-payloads DIR] [--become | --hold | --exec-host | --mcp-host | --inside | --try-tmp | "
    "--try-sandbox] -- CMD [ARG...]";

enum class Mode { become, hold, exec_host, mcp_host, inside, try_tmp, try_sandbox };

struct Options {
  Mode mode = Mode::become;
  std::vector<std::string> join;
  std::string payloads;
  std::vector<std::string> secrets;
  Launch launch;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  pid_t parent = ::getppid();
  std::vector<char*> command;  // null at its end
};

template <typename Number>
bool read_number(std::string_view text, Number& number) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && stop == text.data() + text.size();
}

template <typename Number>
bool read_number(std::string_view text, std::optional<Number>& number) {
  return read_number(text, number.emplace());
}

bool set_mode(std::string_view name, Options& options) {
  if (name == "--become") return options.mode = Mode::become, true;
  if (name == "--hold") return options.mode = Mode::hold, true;
  if (name == "--exec-host") return options.mode = Mode::exec_host, true;
  if (name == "--mcp-host") return options.mode = Mode::mcp_host, true;
  if (name == "--inside") return options.mode = Mode::inside, true;
  if (name == "--try-tmp") return options.mode = Mode::try_tmp, true;
  if (name == "--try-sandbox") return options.mode = Mode::try_sandbox, true;
  return false;
}

bool set_oom_score_adj(std::string_view value, Launch& launch) {
  int number = 0;
  launch.oom_score_adj = value;
  return read_number(value, number) && number >= -1000 && number <= 1000;
}

bool is_nice(int value) { return value >= -20 && value <= 19; }

bool set_place(std::string_view name, std::string_view value, PlacePlan& place) {
  if (name == "--place") return place.directory = value, value.starts_with('/');
  if (name == "--home") return place.private_home = value == "private";
  if (name == "--hide") return place.hidden.emplace_back(value), true;
  if (name == "--mask") return place.masked = value, true;
  if (name == "--show-payloads") return place.payloads = value, true;
  if (name == "--tmp") return read_number(value, place.tmp.emplace().count) && place.tmp->count > 0;
  if (name == "--tmp-by" && value == "root") return place.mount = MountRight::root, true;
  if (name == "--tmp-by" && value == "userns") return place.mount = MountRight::user_namespace, true;
  if (name != "--sandbox") return false;
  place.sandbox = true;
  place.network = value == "network";
  return place.network || value == "none";
}

bool set_option(std::string_view name, const char* value, Options& options) {
  if (name == "--join") return options.join.emplace_back(value), true;
  if (name == "--payloads") return options.payloads = value, true;
  if (name == "--cwd") return options.launch.cwd = value, true;
  if (name == "--limit-data") return read_number(value, options.launch.limit_data);
  if (name == "--nofile") return read_number(value, options.launch.open_files);
  if (name == "--oom-score-adj") return set_oom_score_adj(value, options.launch);
  if (name == "--uid") return read_number(value, options.uid);
  if (name == "--gid") return read_number(value, options.gid);
  if (name == "--nice") return read_number(value, options.launch.nice) && is_nice(*options.launch.nice);
  if (name == "--parent") return read_number(value, options.parent);
  if (name == "--secret") return options.secrets.emplace_back(value), true;
  return set_place(name, value, options.launch.place);
}

/// The first argument that is wrong, null when all are right.
const char* read_options(char** arguments, Options& options) {
  while (*arguments != nullptr && std::strcmp(*arguments, "--") != 0) {
    char* const name = *arguments++;
    if (set_mode(name, options)) continue;
    if (*arguments == nullptr || !set_option(name, *arguments, options)) return name;
    ++arguments;
  }
  if (*arguments != nullptr) ++arguments;
  while (*arguments != nullptr) options.command.push_back(*arguments++);
  if (options.uid.has_value() != options.gid.has_value()) return "--uid";
  if (options.uid) options.launch.identity = {*options.uid, *options.gid};
  const bool needs_command =
      options.mode == Mode::become || options.mode == Mode::hold || options.mode == Mode::mcp_host;
  if (options.command.empty() && needs_command) return "--";
  options.command.push_back(nullptr);
  return nullptr;
}

int become_command(const Options& options) {
  const auto whole = whole_command(options.launch, options.command);
  const Mishap mishap = become(options.launch, options.parent, whole.data());
  return complain(to_string(mishap)), mishap.exit_status();
}

/// Secrets are read with the supervisor's rights, not with the agent's.
Result<void> settle(Options& options) {
  for (const std::string& secret : options.secrets)
    if (auto set = set_from_file(secret); !set) return set;
  Launch& launch = options.launch;
  launch.place.xdg = unset_xdg();
  // Each command of an exec host gets its own; this one is for the attempt.
  if (options.mode != Mode::exec_host) {
    if (auto furnished = furnish(launch, ""); !furnished) return furnished;
    return launch.place.sandbox ? try_sandbox(launch) : Result<void>{};
  }
  if (!launch.place.sandbox) return {};
  Launch bare = launch;
  bare.place.private_home = false;
  if (auto furnished = furnish(bare, ""); !furnished) return furnished;
  return try_sandbox(bare);
}

/// What is to be had here, on stdout.
int tell(const std::string& text) {
  const std::string line = text + "\n";
  return ::write(STDOUT_FILENO, line.data(), line.size()) == std::ssize(line) ? 0 : exit_launch_failed;
}

int try_sandbox_here() {
  Launch launch;
  launch.place.sandbox = true;
  auto works = furnish(launch, "");
  if (works) works = try_sandbox(launch);
  return tell(works ? "works" : works.error().message);
}

int run(char** arguments) {
  Options options;
  if (const char* wrong = read_options(arguments, options)) {
    complain("option " + std::string(wrong) + " is wrong or lacks its value; " + std::string(usage));
    return exit_launch_failed;
  }
  if (options.mode == Mode::inside) return become_inside(options.command.data());
  if (options.mode == Mode::try_tmp) return tell(try_tmp());
  if (options.mode == Mode::try_sandbox) return try_sandbox_here();
  if (const auto entered = enter(options.join, options.launch.nice); !entered) {
    return complain(entered.error().message), exit_launch_failed;
  }
  if (const auto opened = leave_open(options.payloads); !opened) {
    return complain(opened.error().message), exit_launch_failed;
  }
  if (const auto settled = settle(options); !settled) {
    return complain(settled.error().message), exit_launch_failed;
  }
  switch (options.mode) {
    case Mode::become:
      return become_command(options);
    case Mode::hold:
      return hold(options.launch, options.parent, options.command);
    case Mode::exec_host:
      return host_commands(options.launch, options.parent);
    case Mode::mcp_host:
      return host_mcp_server(options.launch, options.parent, options.command);
    case Mode::inside:
    case Mode::try_tmp:
    case Mode::try_sandbox:
      break;
  }
  return exit_launch_failed;
}

}  // namespace
}  // namespace kurultai

// _exit: nothing is buffered, and nothing of a shared terminal or file is left to flush.
int main(int, char** argv) { ::_exit(kurultai::run(argv + 1)); }
