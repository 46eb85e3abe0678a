#include "tools/bench/kurultaid.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tools/bench/child.h"

extern char** environ;

namespace kurultai::bench {

namespace {

constexpr auto look = std::chrono::milliseconds(10);
constexpr int looks_until_up = 3000;   // an emulated machine takes seconds
constexpr int looks_until_gone = 500;  // after that its guardian clears up

}  // namespace

Kurultaid::Kurultaid(const KurultaidOptions& options) : options_(options) {
  std::string name = "/tmp/kurultai-bench-XXXXXX";
  directory_ = ::mkdtemp(name.data());
  state_ = options.state_directory.empty() ? directory_ + "/state" : options.state_directory;
  std::ofstream(directory_ + "/memory.yaml") << options.config;
  start();
  for (int looks = 0; !answers(); ++looks) {
    if (::waitpid(pid_, nullptr, WNOHANG) != 0) give_up("kurultaid has ended at once");
    if (looks > looks_until_up) {
      end();
      give_up("kurultaid does not answer");
    }
    std::this_thread::sleep_for(look);
  }
}

Kurultaid::~Kurultaid() {
  end();
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
}

void Kurultaid::crash_and_restart() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  start();
}

bool Kurultaid::restart_if_gone() {
  if (::waitpid(pid_, nullptr, WNOHANG) == 0) return false;
  start();
  return true;
}

void Kurultaid::start() {
  const std::string program = std::filesystem::path(own_path()).parent_path() / "kurultaid";
  std::vector<std::string> words = {program,       "--config",        directory_ + "/memory.yaml",
                                    "--socket",    socket(),          "--state-dir",
                                    state_,        "--listen",        "none",
                                    "--log-level", options_.log_level};
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  if (!options_.log_file.empty())
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, options_.log_file.c_str(),
                                       O_WRONLY | O_CREAT | O_APPEND, 0644);
  // What it says at its end is none of ours.
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  // Connections of ours that were open meanwhile are none of its own: libcurl's are inherited.
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;  // in a session of its own, as service managers start it
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  if (::posix_spawn(&pid_, argv[0], &actions, &attributes, argv.data(), environ) != 0)
    give_up("start " + program);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
}

void Kurultaid::end() {
  if (pid_ == 0) return;
  // The second signal ends the drain: what still runs is of no use to anybody.
  ::kill(pid_, SIGTERM);
  for (int looks = 0; ::waitpid(pid_, nullptr, WNOHANG) == 0; ++looks) {
    if (looks == 10) ::kill(pid_, SIGTERM);
    if (looks == looks_until_gone) ::kill(pid_, SIGKILL);
    std::this_thread::sleep_for(look);
  }
  pid_ = 0;
}

bool Kurultaid::answers() const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket().copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool connected = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  ::close(fd);
  return connected;
}

void Kurultaid::configure(const std::string& config) const {
  const std::string file = directory_ + "/memory.yaml";
  std::ofstream(file + ".new") << config;
  std::filesystem::rename(file + ".new", file);
}

std::string Kurultaid::instance() const {
  std::string instance;
  std::ifstream(state_ + "/instance") >> instance;
  return instance;
}

std::vector<std::string> Kurultaid::workers_groups() const {
  const std::string name = "/kurultai-" + instance() + "/workers";
  std::vector<std::string> groups;
  namespace fs = std::filesystem;
  std::error_code error;
  const auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator at("/sys/fs/cgroup", options, error), end; at != end;
       at.increment(error)) {
    const std::string path = at->path();
    if (path.ends_with(name)) groups.push_back(path);
  }
  return groups;
}

}  // namespace kurultai::bench
