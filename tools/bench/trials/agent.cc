#include "tools/bench/trials/agent.h"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <variant>

#include "protocol/bytes.h"
#include "protocol/codec.h"
#include "protocol/json_text.h"
#include "tools/bench/child.h"
#include "tools/bench/trials/bystander.h"

namespace kurultai::bench {

namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Lines on stdin. The program ends when they do.
class Inbox {
 public:
  std::optional<std::string> line(int wait_ms) {
    if (const std::size_t end = buffered_.find('\n'); end != std::string::npos) return cut(end);
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, wait_ms) <= 0) return {};
    std::array<char, 65536> bytes{};
    const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (count <= 0) std::exit(0);
    buffered_.append(bytes.data(), static_cast<std::size_t>(count));
    const std::size_t end = buffered_.find('\n');
    return end == std::string::npos ? std::nullopt : std::optional(cut(end));
  }

 private:
  std::string cut(std::size_t end) {
    std::string line = buffered_.substr(0, end);
    buffered_.erase(0, end + 1);
    return line;
  }

  std::string buffered_;
};

/// Memory that is touched a page after another.
class Ballast {
 public:
  explicit Ballast(Bytes size) : size_(static_cast<std::size_t>(size.count)) {
    void* memory = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) give_up("no address space");
    memory_ = static_cast<char*>(memory);
  }
  ~Ballast() { ::munmap(memory_, size_); }
  Ballast(const Ballast&) = delete;
  Ballast& operator=(const Ballast&) = delete;

  bool is_full() const { return touched_ >= size_; }
  /// Touches 256 KiB more, and keeps the longest time that this took but for waiting for a processor.
  void touch_more() {
    static constexpr std::size_t page = 4096;
    static constexpr std::size_t step = 64 * page;
    const auto start = Clock::now();
    const std::int64_t waited = waited_for_processor();
    for (const std::size_t end = std::min(touched_ + step, size_); touched_ < end; touched_ += page)
      memory_[touched_] = 1;
    const double took = milliseconds_since(start);
    if (took <= longest_wait_ms_) return;
    const double idle = static_cast<double>(waited_for_processor() - waited) / 1e6;
    longest_wait_ms_ = std::max(longest_wait_ms_, took - idle);
  }
  double longest_wait_ms() const { return longest_wait_ms_; }

 private:
  char* memory_;
  std::size_t size_;
  std::size_t touched_ = 0;
  double longest_wait_ms_ = 0;
};

json grow(Ballast& ballast) {
  const auto start = Clock::now();
  while (!ballast.is_full()) ballast.touch_more();
  return {{"seconds", milliseconds_since(start) / 1000}, {"longestWaitMs", ballast.longest_wait_ms()}};
}

void say(const FromAgent& message) { write_all(STDOUT_FILENO, encode(message)); }

class Agent {
 public:
  int serve() {
    say(Ready{protocol_version, "trial"});
    for (;;) {
      if (const auto message = next(-1)) {
        if (const auto* task = std::get_if<TaskMessage>(&*message)) run(*task);
      }
    }
  }

 private:
  std::optional<ToAgent> next(int wait_ms) {
    const auto line = inbox_.line(wait_ms);
    if (!line) return {};
    auto decoded = decode_to_agent(*line);
    auto* message = std::get_if<ToAgent>(&decoded);
    if (message == nullptr) return {};
    if (std::holds_alternative<Shutdown>(*message)) std::exit(0);
    return std::move(*message);
  }

  /// Whether the task is to stop now, and what is to be answered when its memory is free again.
  bool is_stopped(const TaskMessage& task, int wait_ms, std::optional<FromAgent>& answer) {
    while (const auto message = next(wait_ms)) {
      wait_ms = 0;
      if (std::holds_alternative<Preempt>(*message)) answer = Preempted{task.task_id, "{}"};
      if (std::holds_alternative<Cancel>(*message))
        answer = Failed{.task_id = task.task_id, .error = "cancelled", .retryable = false};
      if (answer && !deaf_) return true;
    }
    return false;
  }

  void run(const TaskMessage& task) {
    const auto payload = parse_json(task.payload);
    if (!payload) return say(Failed{.task_id = task.task_id, .error = payload.error().message});
    const Bytes size = mebibytes(payload->value("mib", 1));
    deaf_ = payload->value("deaf", false);
    pause_ms_ = payload->value("pauseMs", pause_ms_);
    const std::string gate = payload->value("gate", "");
    say(payload->value("role", "") == "grow" ? grow_for(task, size) : hold_for(task, size, gate));
  }

  FromAgent grow_for(const TaskMessage& task, Bytes size) {
    say(Progress{task.task_id, 1, "growing"});
    Ballast ballast(size);
    const json grown = grow(ballast);
    std::optional<FromAgent> stopped;
    if (is_stopped(task, 0, stopped) || stopped) return *stopped;
    return Complete{.task_id = task.task_id, .result = to_text(grown)};
  }

  FromAgent hold_for(const TaskMessage& task, Bytes size, const std::string& gate) {
    std::optional<FromAgent> stopped;
    Ballast ballast(size);
    while (!ballast.is_full() && ::access(gate.c_str(), F_OK) == 0) ballast.touch_more();
    Bystander bystander;
    say(Progress{task.task_id, 1, "holding"});
    while (::access(gate.c_str(), F_OK) == 0) {
      if (is_stopped(task, pause_ms_, stopped)) return *stopped;
      bystander.turn();
    }
    // Told just now, or deaf until now: it was chosen all the same, and that has to show.
    if (is_stopped(task, 0, stopped) || stopped) return *stopped;
    return Complete{.task_id = task.task_id, .result = to_text(bystander.take_record())};
  }

  Inbox inbox_;
  bool deaf_ = false;
  int pause_ms_ = 2;  // between turns
};

}  // namespace

int serve_as_agent() { return Agent().serve(); }

int serve_as_control(int mib, int pause_ms) {
  Ballast ballast(mebibytes(mib));
  grow(ballast);
  Inbox inbox;
  for (Bystander bystander;; bystander.turn()) {
    if (inbox.line(pause_ms)) write_all(STDOUT_FILENO, to_text(bystander.take_record()) + "\n");
  }
}

int grow_bare(int mib) {
  Ballast ballast(mebibytes(mib));
  write_all(STDOUT_FILENO, to_text(grow(ballast)) + "\n");
  return 0;
}

}  // namespace kurultai::bench
