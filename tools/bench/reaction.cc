#include "tools/bench/reaction.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "protocol/bytes.h"
#include "tools/bench/child.h"
#include "tools/bench/conversation.h"
#include "tools/bench/kurultaid.h"

namespace kurultai::bench {

namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr int held_mib = 140;  // by each of two, of 512
constexpr int wanted_mib = 300;

std::string in_directory(const char* program) {
  return std::filesystem::path(own_path()).parent_path() / program;
}

KurultaidOptions options() {
  const std::string agent = "{protocol: jsonl, command: [" + in_directory("kurultai-trials") + ", --agent]}";
  return {.config =
              "memory: {budget: 512MiB}\nadmission: none\nworkers: {max: 3, memory_limit: 512MiB, "
              "memory_warning: 512MiB}\ncircuit_breakers: {failures: 1000}\n"
              "agents:\n  hold: " +
              agent + "\n  grow: " + agent + "\n"};
}

/// The group of version 1 of all workers; empty where there is none.
std::string group_of(const Kurultaid& kurultaid) {
  for (const std::string& group : kurultaid.workers_groups()) {
    if (std::filesystem::exists(group + "/memory.oom_control")) return group;
  }
  return {};
}

/// Processes that use up all processors for as long as it lives.
class BothBusy {
 public:
  BothBusy() {
    const unsigned count = std::max(1U, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < count; ++i) spinners_.push_back(start_piped({own_path(), "--spin"}));
  }
  ~BothBusy() {
    for (const Child& spinner : spinners_) {
      ::kill(spinner.pid, SIGKILL);
      finish(spinner);
    }
  }
  BothBusy(const BothBusy&) = delete;
  BothBusy& operator=(const BothBusy&) = delete;

 private:
  std::vector<Child> spinners_;
};

std::int64_t number_in(int fd) {
  std::array<char, 32> text{};
  return ::pread(fd, text.data(), text.size() - 1, 0) > 0 ? std::strtoll(text.data(), nullptr, 10) : 0;
}

/// It has no memory any more, or a SIGKILL waits for it.
bool is_killed(pid_t process) {
  static constexpr std::uint64_t sigkill = std::uint64_t{1} << (SIGKILL - 1);
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  bool has_memory = false;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) has_memory = true;
    const bool pending = line.starts_with("SigPnd:") || line.starts_with("ShdPnd:");
    if (pending && (std::strtoull(line.c_str() + 7, nullptr, 16) & sigkill) != 0) return true;
  }
  return !has_memory;
}

/// Watches the edge of one worker on a thread of its own.
class Observer {
 public:
  Observer(const std::string& group, std::vector<pid_t> victims, Reactions& reactions)
      : victims_(std::move(victims)),
        reactions_(reactions),
        event_(::eventfd(0, EFD_CLOEXEC)),
        control_(::open((group + "/memory.oom_control").c_str(), O_RDONLY | O_CLOEXEC)),
        limit_(::open((group + "/memory.limit_in_bytes").c_str(), O_RDONLY | O_CLOEXEC)),
        charge_(::open((group + "/memory.usage_in_bytes").c_str(), O_RDONLY | O_CLOEXEC)) {
    std::ofstream subscription(group + "/cgroup.event_control");
    if (!(subscription << event_ << ' ' << control_ << std::flush)) give_up("no events of " + group);
    thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
  }
  ~Observer() {
    thread_ = {};
    for (const int fd : {event_, control_, limit_, charge_}) ::close(fd);
  }
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

 private:
  void watch(const std::stop_token& stop) {
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), -20);
    bool killed = false;
    while (!stop.stop_requested() && !killed) {
      pollfd event{event_, POLLIN, 0};
      if (::poll(&event, 1, 20) <= 0) continue;
      const auto start = Clock::now();
      // The edge that was reached, whatever it is by now: the charge is there, but for less than a batch.
      const std::int64_t edge = number_in(charge_) + kibibytes(256).count;
      std::uint64_t count = 0;
      if (::read(event_, &count, sizeof count) < 0) continue;
      killed = follow(start, edge, stop);
    }
  }

  /// True when a victim was killed for it.
  bool follow(Clock::time_point start, std::int64_t edge, const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const bool raised = number_in(limit_) > edge;
      const bool killed = !raised && std::ranges::any_of(victims_, is_killed);
      if (!raised && !killed) continue;
      const std::chrono::duration<double, std::micro> took = Clock::now() - start;
      (raised ? reactions_.raised_us : reactions_.killed_us).push_back(took.count());
      return killed;
    }
    return false;
  }

  std::vector<pid_t> victims_;
  Reactions& reactions_;
  int event_;
  int control_;
  int limit_;
  int charge_;
  std::jthread thread_;
};

class Rounds {
 public:
  explicit Rounds(const Kurultaid& kurultaid)
      : group_(group_of(kurultaid)),
        gate_(kurultaid.directory() + "/gate"),
        conversation_(kurultaid.socket()) {
    run_grower(1);  // its worker is warm
  }

  bool can_be_observed() const { return !group_.empty(); }

  void run(Reactions& reactions) {
    std::ofstream(gate_).put('\n');
    conversation_.forget_events();
    std::vector<std::string> holders;
    holders.reserve(2);
    for (int i = 0; i < 2; ++i) holders.push_back(submit("hold", "low", held_mib));
    wait_for("taskProgress", holders);
    {
      const Observer observer(group_ + "/" + workers("grow").at(0).value("workerId", ""), pids_of_holders(),
                              reactions);
      run_grower(wanted_mib);
    }
    std::filesystem::remove(gate_);
    wait_for("taskCompleted", holders);
  }

 private:
  std::string submit(const char* agent, const char* priority, int mib) {
    const json payload = {{"role", agent}, {"mib", mib}, {"gate", gate_}, {"deaf", true}};
    return conversation_.submit({{"agent", agent}, {"priority", priority}, {"payload", payload}});
  }

  void run_grower(int mib) { wait_for("taskCompleted", {submit("grow", "high", mib)}); }

  void wait_for(const std::string& type, const std::vector<std::string>& tasks) {
    const auto is_told = [&](const std::string& id) {
      return std::ranges::any_of(conversation_.events(), [&](const json& event) {
        return event.value("type", "") == type && event.value("taskId", "") == id;
      });
    };
    if (!conversation_.wait_until([&] { return std::ranges::all_of(tasks, is_told); }))
      give_up("no " + type + " came");
  }

  std::vector<json> workers(const std::string& agent) {
    std::vector<json> found;
    for (const json& worker : conversation_.get("/v1/workers").value("workers", json::array())) {
      if (worker.value("agent", "") == agent) found.push_back(worker);
    }
    return found;
  }

  std::vector<pid_t> pids_of_holders() {
    std::vector<pid_t> pids;
    const auto holders = workers("hold");
    pids.reserve(holders.size());
    for (const json& worker : holders) pids.push_back(worker.value("pid", 0));
    return pids;
  }

  std::string group_;
  std::string gate_;
  Conversation conversation_;
};

}  // namespace

std::vector<double> measure_wake_ups(int count) {
  static constexpr int supervisors_nice = -10;
  static constexpr std::chrono::milliseconds pause{5};
  const BothBusy load;
  const int event = ::eventfd(0, EFD_CLOEXEC);
  std::atomic<Clock::time_point> sent{};
  std::vector<double> took;
  std::atomic<bool> enough = false;
  std::jthread waiter([&] {
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), supervisors_nice);
    for (std::uint64_t value = 0; std::ssize(took) < count;) {
      if (::read(event, &value, sizeof value) < 0) continue;
      took.push_back(std::chrono::duration<double, std::micro>(Clock::now() - sent.load()).count());
    }
    enough = true;
  });
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), -20);
  while (!enough) {  // one read takes all that was written while it slept
    std::this_thread::sleep_for(pause);
    sent = Clock::now();
    const std::uint64_t one = 1;
    if (::write(event, &one, sizeof one) < 0) give_up("eventfd");
  }
  waiter.join();
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 0);
  ::close(event);
  return took;
}

Reactions measure_reactions(int count) {
  Reactions reactions;
  const Kurultaid kurultaid(options());
  Rounds rounds(kurultaid);
  if (!rounds.can_be_observed()) return reactions;
  const BothBusy load;
  for (int i = 0; i < count; ++i) rounds.run(reactions);
  return reactions;
}

void spin() {
  ::setsid();  // or they would take their turns from the share of whoever measures
  for (std::atomic<unsigned> turns;;) ++turns;
}

}  // namespace kurultai::bench
