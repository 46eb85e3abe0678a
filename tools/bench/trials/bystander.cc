#include "tools/bench/trials/bystander.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/bench/child.h"

namespace kurultai::bench {

namespace {

constexpr std::size_t fresh_bytes = 64UL * 1024;
constexpr std::size_t kept_errors = 20;

}  // namespace

std::int64_t waited_for_processor(const std::string& process) {
  const int fd = ::open(("/proc/" + process + "/schedstat").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  std::array<char, 128> text{};
  const ssize_t count = ::read(fd, text.data(), text.size() - 1);
  ::close(fd);
  if (count <= 0) return 0;
  char* second = nullptr;
  std::strtoll(text.data(), &second, 10);
  return std::strtoll(second, nullptr, 10);
}

std::optional<double> waited_for_memory_ms() {
  std::ifstream own("/proc/self/cgroup");
  std::string group;
  while (std::getline(own, group) && !group.starts_with("0::")) continue;
  if (group.size() <= std::strlen("0::/")) return {};  // the root's is the whole machine's
  std::ifstream pressure("/sys/fs/cgroup" + group.substr(std::strlen("0::")) + "/memory.pressure");
  std::string line;
  std::getline(pressure, line);  // "some avg10=… avg60=… avg300=… total=MICROSECONDS"
  const std::size_t total = line.find("total=");
  if (total == std::string::npos) return {};
  return static_cast<double>(std::strtoll(line.c_str() + total + std::strlen("total="), nullptr, 10)) / 1000;
}

Bystander::Bystander()
    : file_("/tmp/kurultai-bystander-" + std::to_string(::getpid())),
      zero_(::open("/dev/zero", O_RDONLY | O_CLOEXEC)) {
  if (zero_ < 0) give_up("a bystander cannot begin");
}

Bystander::~Bystander() { ::close(zero_); }

void Bystander::turn() {
  time("fork and wait", &Bystander::fork_and_wait);
  time("pipe", &Bystander::pipe_there_and_back);
  time("file", &Bystander::file_there_and_back);
  time("read into fresh memory", &Bystander::read_into_fresh_memory);
  ++turns_;
}

void Bystander::time(const char* what, void (Bystander::*call)()) {
  child_waited_ = 0;
  const std::int64_t waited = waited_for_processor();
  const auto start = std::chrono::steady_clock::now();
  (this->*call)();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  const std::int64_t idle = waited_for_processor() - waited + child_waited_;
  const double pause = took.count() - static_cast<double>(idle) / 1e6;
  if (pause <= longest_pause_ms_) return;
  longest_pause_ms_ = pause;
  paused_in_ = what;
}

void Bystander::fork_and_wait() {
  const pid_t child = ::fork();
  if (child < 0) return note("fork");
  if (child == 0) ::_exit(0);
  siginfo_t ended{};
  // Looked at before it is reaped: giving its memory back is the longest part of its life.
  if (::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) == 0)
    child_waited_ = waited_for_processor(std::to_string(child));
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return note("waitpid");
  if (status != 0) errors_.push_back("child: status " + std::to_string(status));
}

void Bystander::pipe_there_and_back() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return note("pipe");
  std::array<char, 4096> bytes{};
  if (::write(ends[1], bytes.data(), bytes.size()) < 0) note("write to pipe");
  if (::read(ends[0], bytes.data(), bytes.size()) < 0) note("read from pipe");
  ::close(ends[0]);
  ::close(ends[1]);
}

void Bystander::file_there_and_back() {
  const int fd = ::open(file_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return note("open");
  ::unlink(file_.c_str());  // one that is killed leaves nothing behind
  std::array<char, 4096> bytes{};
  if (::write(fd, bytes.data(), bytes.size()) < 0) note("write to file");
  if (::pread(fd, bytes.data(), bytes.size(), 0) < 0) note("read from file");
  ::close(fd);
}

void Bystander::read_into_fresh_memory() {
  void* fresh = ::mmap(nullptr, fresh_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fresh == MAP_FAILED) return note("mmap");
  if (::read(zero_, fresh, fresh_bytes) < 0) note("read into fresh memory");
  ::munmap(fresh, fresh_bytes);
}

void Bystander::note(const char* call) {
  if (errors_.size() < kept_errors) errors_.push_back(std::string(call) + ": " + std::strerror(errno));
}

nlohmann::json Bystander::take_record() {
  nlohmann::json record = {{"turns", turns_},
                           {"errors", errors_},
                           {"longestPauseMs", longest_pause_ms_},
                           {"pausedIn", paused_in_}};
  const auto waited = waited_for_memory_ms();
  if (waited && waited_before_ms_) record["memoryWaitMs"] = *waited - *waited_before_ms_;
  waited_before_ms_ = waited;
  turns_ = 0;
  longest_pause_ms_ = 0;
  paused_in_ = "";
  errors_.clear();
  return record;
}

}  // namespace kurultai::bench
