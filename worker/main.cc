// kurultai-worker: what the supervisor starts for each worker. It becomes the agent, holds it, or hosts
// commands or an MCP server.
#include <unistd.h>

#include <charconv>
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

namespace kurultai {
namespace {

constexpr std::string_view usage =
    "usage: kurultai-worker [--join FILE]... [--limit-data BYTES] [--oom-score-adj N] [--nice N] "
    "[--uid N --gid N] [--cwd DIR] "
    "[--parent PID] [--nofile N] [--payloads DIR] [--become | --hold | --exec-host | --mcp-host] -- CMD "
    "[ARG...]";

enum class Mode { become, hold, exec_host, mcp_host };

struct Options {
  Mode mode = Mode::become;
  std::vector<std::string> join;
  std::string payloads;
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
  return false;
}

bool set_oom_score_adj(std::string_view value, Launch& launch) {
  int number = 0;
  launch.oom_score_adj = value;
  return read_number(value, number) && number >= -1000 && number <= 1000;
}

bool is_nice(int value) { return value >= -20 && value <= 19; }

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
  return false;
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
  if (options.command.empty() && options.mode != Mode::exec_host) return "--";
  options.command.push_back(nullptr);
  return nullptr;
}

int become_command(const Options& options) {
  const Mishap mishap = become(options.launch, options.parent, options.command.data());
  return complain(to_string(mishap)), mishap.exit_status();
}

int run(char** arguments) {
  Options options;
  if (const char* wrong = read_options(arguments, options)) {
    complain("option " + std::string(wrong) + " is wrong or lacks its value; " + std::string(usage));
    return exit_launch_failed;
  }
  if (const auto entered = enter(options.join, options.launch.nice); !entered) {
    return complain(entered.error().message), exit_launch_failed;
  }
  if (const auto opened = leave_open(options.payloads); !opened) {
    return complain(opened.error().message), exit_launch_failed;
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
  }
  return exit_launch_failed;
}

}  // namespace
}  // namespace kurultai

// _exit: nothing is buffered, and nothing of a shared terminal or file is left to flush.
int main(int, char** argv) { ::_exit(kurultai::run(argv + 1)); }
