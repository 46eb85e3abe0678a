// What the memory tests share: temporary trees that look like /proc and cgroupfs, real child processes that
// do as told, and waiting for something with a deadline.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/memory/controller.h"

namespace kurultai::test {

inline std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string fixture_path(const std::string& name) {
  return std::string(KURULTAI_SOURCE_DIR) + "/tests/memory/fixtures/" + name;
}
inline std::string fixture(const std::string& name) { return read_text(fixture_path(name)); }

/// A directory of its own that goes with it; in memory where possible, for disks take their time with
/// truncated files.
class Tree {
 public:
  Tree() {
    const bool in_memory = ::access("/dev/shm", W_OK) == 0;
    const std::filesystem::path place = in_memory ? "/dev/shm" : std::filesystem::temp_directory_path();
    std::string pattern = (place / "kurultai-memory-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  ~Tree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Tree(const Tree&) = delete;

  const std::string& root() const { return root_; }
  std::string at(const std::string& path) const { return root_ + "/" + path; }
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(at(path)).parent_path());
    std::ofstream(at(path)) << text;
  }
  std::string read(const std::string& path) const { return read_text(at(path)); }
  void remove(const std::string& path) const { std::filesystem::remove_all(at(path)); }

 private:
  std::string root_;
};

/// A name that no other test process has.
inline std::string unique_instance(const std::string& what = "") {
  return "test" + what + "-" + std::to_string(::getpid());
}

/// How many times slower than usual this machine is (an emulated one); deadlines stretch by it.
inline int patience() {
  const char* factor = std::getenv("KURULTAI_TEST_PATIENCE");
  return factor ? std::max(std::atoi(factor), 1) : 1;
}

/// True as soon as `holds` is, false after `seconds`.
inline bool eventually(const std::function<bool()>& holds, int seconds = 10) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds * patience());
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 2);
  }
  return true;
}

inline bool becomes_ready(int fd, int milliseconds) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, milliseconds * patience()) == 1;
}

inline bool is_alive(int pid) {
  const std::string stat = read_text("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t end = stat.rfind(") ");
  return end != std::string::npos && stat[end + 2] != 'Z';
}

/// A child process; killed and waited for at the end.
class Child {
 public:
  explicit Child(const std::function<void()>& body) {
    // No signal may come between the fork and the reset of doctest's handlers, which report a crash.
    sigset_t all, before;
    sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before);
    pid_ = ::fork();
    if (pid_ == 0)
      for (const int signal : {SIGTERM, SIGINT, SIGSEGV, SIGABRT}) ::signal(signal, SIG_DFL);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (pid_ != 0) return;
    body();
    ::_exit(0);
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    wait();
  }
  Child(const Child&) = delete;

  int pid() const { return pid_; }
  /// The status of waitpid.
  int wait() {
    if (!waited_) ::waitpid(pid_, &status_, 0);
    waited_ = true;
    return status_;
  }

 private:
  int pid_ = 0;
  int status_ = 0;
  bool waited_ = false;
};

/// A child that joins a group and then touches and gives back memory when told.
class Actor {
 public:
  explicit Actor(const std::vector<std::string>& launch_options = {}) : Actor(launch_options, pair()) {}
  ~Actor() { ::close(ours_); }

  int pid() const { return child_.pid(); }
  /// Whether it lived to answer.
  bool touch(int mebibytes) { return ask(mebibytes); }
  bool give_back() { return ask(0); }
  int wait() { return child_.wait(); }

 private:
  struct Ends {
    int ours, theirs;
  };
  static Ends pair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) ::abort();
    return {ends[0], ends[1]};
  }
  Actor(const std::vector<std::string>& options, Ends ends)
      : ours_(ends.ours), child_([&] {
          ::close(ends.ours);
          act(options, ends.theirs);
        }) {
    ::close(ends.theirs);
    ask(0);  // it has joined
  }

  bool ask(int mebibytes) const {
    int answer = 0;
    return ::send(ours_, &mebibytes, sizeof mebibytes, MSG_NOSIGNAL) == sizeof mebibytes &&
           ::read(ours_, &answer, sizeof answer) == sizeof answer;
  }

  [[noreturn]] static void act(const std::vector<std::string>& options, int fd) {
    for (std::size_t i = 0; i + 1 < options.size(); ++i)
      if (options[i] == "--join") std::ofstream(options[i + 1]) << ::getpid() << std::flush;
    std::vector<std::pair<void*, std::size_t>> held;
    for (int mebibytes = 0; ::read(fd, &mebibytes, sizeof mebibytes) == sizeof mebibytes;) {
      if (mebibytes == 0) {
        for (const auto& [block, size] : held) ::munmap(block, size);
        held.clear();
      } else {
        const std::size_t size = static_cast<std::size_t>(mebibytes) << 20;
        void* block = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        std::memset(block, 1, size);
        held.emplace_back(block, size);
      }
      if (::write(fd, &mebibytes, sizeof mebibytes) != sizeof mebibytes) break;
    }
    ::_exit(0);
  }

  int ours_;
  Child child_;
};

/// Where the tests with the real kernel make their groups.
inline std::string real_cgroup_parent() {
  const char* parent = std::getenv("KURULTAI_MEMORY_CGROUP_PARENT");
  if (parent) return parent;
  return ::getuid() == 0 ? "/" : "self";
}

inline ControllerOptions real_options(const std::string& what = "") {
  ControllerOptions options;
  options.instance = unique_instance(what);
  options.cgroup_parent = real_cgroup_parent();
  return options;
}

}  // namespace kurultai::test
