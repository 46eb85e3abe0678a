#include "supervisor/workers/ask_launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

#include "protocol/error.h"
#include "supervisor/memory/fd.h"

namespace kurultai {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds patience{5};
constexpr std::size_t longest_answer = 4096;

/// Until its end, or until it has had its time.
std::string read_all(int fd) {
  std::string text;
  const auto until = Clock::now() + patience;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd wait{fd, POLLIN, 0};
    const int ready = left <= 0 ? 0 : ::poll(&wait, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return text;
    std::array<char, 512> buffer{};
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0 || text.size() > longest_answer) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

/// The one line that it writes.
Result<std::string> ask(const std::string& launcher, const char* question) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_failure("make a pipe", errno);
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  posix_spawn_file_actions_t actions;
  if (const int code = ::posix_spawn_file_actions_init(&actions); code != 0)
    return system_failure("start " + launcher, code);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  std::array<char*, 3> argv = {const_cast<char*>(launcher.c_str()), const_cast<char*>(question), nullptr};
  pid_t pid = 0;
  const int code = ::posix_spawn(&pid, launcher.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (code != 0) return system_failure("start " + launcher, code);
  writing.reset();
  std::string answer = read_all(reading.get());
  ::kill(pid, SIGKILL);  // it has ended, or has had its time
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  while (answer.ends_with('\n')) answer.pop_back();
  if (answer.empty()) return failure(launcher + " " + question + " gave no answer");
  return answer;
}

}  // namespace

TmpAnswer ask_for_tmp(const std::string& launcher) {
  const auto answer = ask(launcher, "--try-tmp");
  if (!answer) return {TmpRight::directory, answer.error().message};
  if (*answer == "root") return {TmpRight::root, ""};
  if (*answer == "userns") return {TmpRight::user_namespace, ""};
  const std::size_t colon = answer->find(": ");
  return {TmpRight::directory, colon == std::string::npos ? *answer : answer->substr(colon + 2)};
}

std::string ask_for_sandbox(const std::string& launcher) {
  const auto answer = ask(launcher, "--try-sandbox");
  if (!answer) return answer.error().message;
  return *answer == "works" ? "" : *answer;
}

}  // namespace kurultai
