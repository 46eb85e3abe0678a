#include "tools/kurultai/run/private_supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string_view>

#include "tools/kurultai/supervisor.h"

namespace kurultai {
namespace {

namespace fs = std::filesystem;

// The path of a Unix socket holds 107 bytes, of which "/kurultai-run-" with 16 digits and "/s" takes 32.
constexpr std::size_t longest_parent = 75;
constexpr int configuration_fd = 3;  // in the supervisor

// A payload of at most gateway.max_body (1 MiB), a result of at most 64 KiB that may take six times that as
// JSON, and a log of at most 64 KiB; larger results are in files.
constexpr Bytes most_of_one_task = mebibytes(2);
constexpr Bytes most_of_log = mebibytes(1);  // what a command writes to stderr is its user's to see

constexpr std::array<std::string_view, 11> overrides = {"KURULTAI_MEMORY_BUDGET=",
                                                        "KURULTAI_MEMORY_THRESHOLDS_",
                                                        "KURULTAI_WORKERS_",
                                                        "KURULTAI_MAX_WORKERS=",
                                                        "KURULTAI_QUEUE_",
                                                        "KURULTAI_EXEC_",
                                                        "KURULTAI_STORE_",
                                                        "KURULTAI_GATEWAY_",
                                                        "KURULTAI_AGENTS",
                                                        "KURULTAI_IPC_",
                                                        "KURULTAI_MEMORY_HYSTERESIS="};

/// The configuration without a file that somebody would have to remove. Its descriptor; it goes with the last
/// process that has it.
Result<int> in_memory(const std::string& text) {
  const int fd = memfd_create("kurultai-run", MFD_CLOEXEC);
  if (fd < 0) return system_failure("memfd_create", errno);
  const int error = write_all(fd, text);
  if (error == 0) return fd;
  close(fd);
  return system_failure("write the configuration", error);
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> out;
  out.reserve(words.size() + 1);
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) out.emplace_back(*entry);
  return out;
}

}  // namespace

std::string find_kurultaid() {
  std::error_code unknown;
  const fs::path self = fs::read_symlink("/proc/self/exe", unknown);
  const fs::path beside = self.parent_path() / "kurultaid";
  if (!unknown && access(beside.c_str(), X_OK) == 0) return beside.string();
  return "kurultaid";
}

std::string private_configuration(const PrivateLimits& limits) {
  const auto size = [](Bytes bytes) { return std::to_string(bytes.count); };
  const std::string depth = std::to_string(limits.queue);
  // What has ended is bounded by its number: none of it may be dropped before it was collected.
  const Bytes held{static_cast<std::int64_t>(limits.finished) * most_of_one_task.count};
  return "memory: {budget: " + size(limits.budget) + "}\n" + "workers: {max: " + std::to_string(limits.jobs) +
         ", memory_limit: " + size(limits.memory) +
         ", memory_warning: " + size(share_of(limits.memory, 0.6)) + "}\n" + "queue: {max_depth: " + depth +
         ", limits: {critical: " + depth + ", high: " + depth + ", normal: " + depth + ", low: " + depth +
         ", heartbeat: " + depth + "}}\n" + "store: {max_finished: " + std::to_string(limits.finished) +
         ", max_held: " + size(held) + ", max_log: " + size(most_of_log) + "}\n" +
         "gateway: {listen: none}\n" + "exec: {allow: true}\n";
}

std::vector<std::string> without_overrides(const std::vector<std::string>& environment) {
  std::vector<std::string> out;
  std::ranges::copy_if(environment, std::back_inserter(out), [](const std::string& entry) {
    return std::ranges::none_of(overrides, [&](std::string_view name) { return entry.starts_with(name); });
  });
  return out;
}

// Only its name: the supervisor makes it, whose guardian removes it, so that nothing is left of a run that is
// killed in between. Nobody can guess 64 random bits and make it first.
Result<void> PrivateSupervisor::choose_directory() {
  // Not under XDG_RUNTIME_DIR: that is memory, and results are kept here.
  const char* wanted = std::getenv("TMPDIR");
  std::string parent = wanted != nullptr && *wanted == '/' ? wanted : "/tmp";
  if (parent.size() > longest_parent) parent = "/tmp";
  if (access(parent.c_str(), W_OK | X_OK) != 0) return system_failure("make a directory in " + parent, errno);
  std::random_device random;
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%08x%08x", random(), random());
  directory_ = parent + "/kurultai-run-" + digits.data();
  return {};
}

Result<void> PrivateSupervisor::spawn(const std::string& program, int configuration) {
  std::array<int, 2> input = {-1, -1};
  std::array<int, 2> errors = {-1, -1};
  if (pipe2(input.data(), O_CLOEXEC) != 0) return system_failure("pipe", errno);
  stdin_fd_ = input[1];
  const bool piped = pipe2(errors.data(), O_CLOEXEC) == 0;
  stderr_fd_ = errors[0];
  int error = piped ? 0 : errno;

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, errors[1], STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions, configuration, configuration_fd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A session of its own: Ctrl-C is for us, who let running commands finish. Signals as a shell would leave
  // them.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);

  std::vector<std::string> words = {program,       "--private",
                                    "--config",    "/proc/self/fd/" + std::to_string(configuration_fd),
                                    "--socket",    directory_ + "/s",
                                    "--state-dir", directory_,
                                    "--listen",    "none",
                                    "--log-level", "warn"};
  std::vector<std::string> environment = without_overrides(own_environment());
  if (piped) {
    error = posix_spawnp(&pid_, program.c_str(), &actions, &attributes, pointers_to(words).data(),
                         pointers_to(environment).data());
  }
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(input[0]);
  if (piped) close(errors[1]);
  if (error == 0) return {};
  pid_ = -1;
  if (error == ENOENT) return failure("kurultaid is neither beside this program nor in PATH", error);
  return system_failure("start " + program, error);
}

Result<void> PrivateSupervisor::start(const PrivateLimits& limits) {
  return start(private_configuration(limits));
}

Result<void> PrivateSupervisor::start(const std::string& configuration) {
  if (auto chosen = choose_directory(); !chosen) return chosen;
  const auto file = in_memory(configuration);
  if (!file) return std::unexpected(file.error());
  auto spawned = spawn(find_kurultaid(), *file);
  close(*file);
  return spawned;
}

Endpoint PrivateSupervisor::endpoint() const {
  return {directory_ + "/s", "http://localhost", "", {"the private supervisor"}};
}

bool PrivateSupervisor::read_stderr() {
  std::array<char, 4096> buffer{};
  const ssize_t got = read(stderr_fd_, buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  for (const char c : std::string_view(buffer.data(), static_cast<std::size_t>(got))) {
    if (c != '\n') {
      if (partial_line_.size() < 4096) partial_line_ += c;
      continue;
    }
    if (!partial_line_.empty()) last_line_ = std::move(partial_line_);
    partial_line_.clear();
  }
  return got > 0;
}

std::string PrivateSupervisor::last_words() const {
  if (!partial_line_.empty()) return partial_line_;
  return last_line_.empty() ? "it said nothing" : last_line_;
}

bool PrivateSupervisor::wait_for_end(Duration at_most) {
  const auto until = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    const auto left = std::chrono::duration_cast<Duration>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd waiting{stderr_fd_, POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(left.count())) > 0 && !read_stderr()) return true;
  }
}

bool PrivateSupervisor::stop() {
  if (stdin_fd_ >= 0) close(stdin_fd_);
  stdin_fd_ = -1;
  bool gone = true;
  if (pid_ > 0) {
    gone = wait_for_end(std::chrono::seconds(15));
    if (!gone) {
      kill(pid_, SIGKILL);  // its guardian ends what it leaves
      gone = wait_for_end(std::chrono::seconds(5));
    }
    waitpid(pid_, nullptr, 0);
  }
  pid_ = -1;
  if (stderr_fd_ >= 0) close(stderr_fd_);
  stderr_fd_ = -1;
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
  directory_.clear();
  return gone;
}

}  // namespace kurultai
