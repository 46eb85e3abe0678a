#include "tools/kurultai/drill/part.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

namespace kurultai {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto longest_drill = std::chrono::minutes(2);
constexpr std::size_t mebibyte = 1024 * 1024;

bool forks() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  int status = -1;
  return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

bool pipes() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  std::array<char, 4096> block{};
  const bool done = ::write(ends[1], block.data(), block.size()) == static_cast<ssize_t>(block.size()) &&
                    ::read(ends[0], block.data(), block.size()) == static_cast<ssize_t>(block.size());
  ::close(ends[0]);
  ::close(ends[1]);
  return done;
}

bool reads() {
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  std::array<char, 4096> block{};
  const bool done = ::read(file, block.data(), block.size()) > 0;
  ::close(file);
  return done;
}

bool takes_memory() {
  void* const taken = ::mmap(nullptr, mebibyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (taken == MAP_FAILED) return false;
  std::memset(taken, 1, mebibyte);
  return ::munmap(taken, mebibyte) == 0;
}

}  // namespace

int drill_leak(Bytes most) {
  for (std::int64_t taken = 0; taken < most.count; taken += static_cast<std::int64_t>(mebibyte)) {
    void* const more = ::mmap(nullptr, mebibyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more == MAP_FAILED) return 1;
    std::memset(more, 1, mebibyte);
  }
  std::this_thread::sleep_for(longest_drill);
  return 0;
}

int drill_bystander(Bytes held, const std::string& until) {
  const std::vector<char> own(static_cast<std::size_t>(held.count), 1);
  const auto begin = Clock::now();
  long rounds = 0;
  long errors = 0;
  std::chrono::duration<double, std::milli> longest{};
  for (auto last = begin; ::access(until.c_str(), F_OK) != 0 && last - begin < longest_drill; ++rounds) {
    for (const auto does : {forks, pipes, reads, takes_memory}) errors += does() ? 0 : 1;
    const auto now = Clock::now();
    longest = std::max<std::chrono::duration<double, std::milli>>(longest, now - last);
    last = now;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::printf("{\"rounds\":%ld,\"longestMs\":%.1f,\"errors\":%ld}\n", rounds, longest.count(), errors);
  return own.back() == 1 ? 0 : 1;
}

}  // namespace kurultai
