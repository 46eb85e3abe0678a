#include "worker/sandbox.h"

#include <string_view>

namespace kurultai {
namespace {

bool is_within(std::string_view path, std::string_view directory) {
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

std::vector<std::string> sandbox_words(const SandboxPlan& plan) {
  std::vector<std::string> words;
  const auto add = [&words](std::initializer_list<std::string> more) {
    words.insert(words.end(), more.begin(), more.end());
  };
  // No --new-session: the worker has a session of its own, without a terminal.
  add({"bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc"});
  if (!plan.network) add({"--unshare-net"});
  if (plan.is_root) add({"--cap-drop", "ALL"});
  add({"--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--perms", "1777"});
  if (plan.tmp) add({"--size", std::to_string(plan.tmp->count)});
  add({"--tmpfs", "/tmp"});
  // What comes later lies above what came before.
  bool cwd_is_hidden = false;
  for (const std::string& directory : plan.hidden)
    cwd_is_hidden = cwd_is_hidden || is_within(plan.cwd, directory);
  if (!plan.cwd.empty() && !cwd_is_hidden) add({"--bind", plan.cwd, plan.cwd});
  for (const std::string& directory : plan.hidden) add({"--tmpfs", directory});
  if (!plan.cwd.empty() && cwd_is_hidden) add({"--bind", plan.cwd, plan.cwd});
  if (!plan.masked.empty()) add({"--ro-bind", "/dev/null", plan.masked});
  if (!plan.payloads.empty()) add({"--ro-bind", plan.payloads, plan.payloads});
  if (!plan.home.empty()) add({"--bind", plan.home, plan.home});
  if (!plan.cwd.empty()) add({"--chdir", plan.cwd});
  add({"--", "/proc/self/fd/" + std::to_string(inside_fd), "--inside", "--"});
  return words;
}

}  // namespace kurultai
