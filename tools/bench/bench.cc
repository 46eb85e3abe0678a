// kurultai-bench: what a task costs, each figure beside its floor measured in the same run. Not a test:
// nothing is asserted. Starts a kurultaid of its own from its own directory. Arguments: the figures wanted,
// of decide, edges, reading, idle, verdicts, tiers, health, reaction, overshoot, tasks and throughput; all
// without any.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "governance/edges.h"
#include "governance/governor.h"
#include "governance/leak_watch.h"
#include "protocol/bytes.h"
#include "supervisor/memory/controller.h"
#include "tools/bench/child.h"
#include "tools/bench/connection.h"
#include "tools/bench/health.h"
#include "tools/bench/kurultaid.h"
#include "tools/bench/reaction.h"
#include "tools/bench/throughput.h"

extern char** environ;

namespace {

using Clock = std::chrono::steady_clock;
using namespace kurultai;
using namespace kurultai::bench;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

/// The agent of the round trips: answers each TASK with an empty COMPLETE, with as little work as possible.
int no_op_agent() {
  write_all(1, "{\"type\":\"READY\",\"protocol\":1,\"name\":\"noop\"}\n");
  std::string buffered;
  std::array<char, 65536> bytes{};
  for (ssize_t count = 0; (count = ::read(0, bytes.data(), bytes.size())) > 0;) {
    buffered.append(bytes.data(), static_cast<std::size_t>(count));
    for (std::size_t end = 0; (end = buffered.find('\n')) != std::string::npos; buffered.erase(0, end + 1)) {
      static constexpr std::string_view key = "\"taskId\":\"";
      const std::size_t at = buffered.find(key);
      if (!buffered.starts_with("{\"type\":\"TASK\"") || at > end) continue;
      const std::string id =
          buffered.substr(at + key.size(), buffered.find('"', at + key.size()) - at - key.size());
      write_all(1, "{\"type\":\"COMPLETE\",\"taskId\":\"" + id + "\",\"result\":{}}\n");
    }
  }
  return 0;
}

/// Touches memory as fast as it can, without end.
int leak() {
  for (;;) {
    const std::size_t step = 4 * 1024 * 1024;
    void* block = ::mmap(nullptr, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return 1;
    std::memset(block, 1, step);
  }
}

KurultaidOptions options() {
  const std::string self = own_path();
  return {.config =
              "memory: {budget: 1GiB}\n"
              "workers: {max: 2, memory_limit: 256MiB, memory_warning: 250MiB}\n"
              "circuit_breakers: {failures: 1000}\nagents:\n  noop: {command: [" +
              self + ", --agent], durability: none}\n  durable: {command: [" + self + ", --agent]}\n" +
              "  true: {protocol: exec, command: [/bin/true], durability: none}\n  leak: {protocol: exec, "
              "command: [" +
              self + ", --leak]}\n",
          .log_file = {}};
}

void round_trip(const Kurultaid& supervisor, int rounds) {
  std::vector<double> floor;
  std::vector<double> ours;
  Child agent = start_piped({own_path(), "--agent"});
  std::array<char, 4096> bytes{};
  if (::read(agent.out, bytes.data(), bytes.size()) <= 0) give_up("the agent said nothing");
  Connection connection(supervisor.socket());
  connection.run("noop");
  for (int i = 0; i < rounds; ++i) {
    auto start = Clock::now();
    write_all(agent.in, "{\"type\":\"TASK\",\"taskId\":\"x\"}\n");
    if (::read(agent.out, bytes.data(), bytes.size()) <= 0) give_up("the agent left");
    floor.push_back(microseconds_since(start));
    start = Clock::now();
    connection.run("noop");
    ours.push_back(microseconds_since(start));
  }
  finish(agent);
  std::printf(
      "no-op jsonl task, submit to result    p50 %6.1f us  p99 %6.1f us   floor (the same agent on a bare "
      "pipe) p50 %5.1f us   ratio %.1f\n",
      percentile(ours, 0.5), percentile(ours, 0.99), percentile(floor, 0.5),
      percentile(ours, 0.5) / percentile(floor, 0.5));
}

constexpr int lane_count = 2;  // as many at a time, in both rates

/// Two appends, each on disk before the next: what acceptance and end of a task that is to be kept cost at
/// least.
double two_syncs_us(int file) {
  const std::array<char, 4096> page{};
  const auto start = Clock::now();
  for (int i = 0; i < 2; ++i) {
    if (::write(file, page.data(), page.size()) < 0 || ::fdatasync(file) != 0) give_up("fdatasync");
  }
  return microseconds_since(start);
}

void durable_round_trip(const Kurultaid& supervisor, int rounds) {
  const std::string path = supervisor.directory() + "/floor";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) give_up("open " + path);
  std::vector<double> floor;
  std::vector<double> ours;
  Connection connection(supervisor.socket());
  connection.run("durable");
  for (int i = 0; i < rounds; ++i) {
    floor.push_back(two_syncs_us(file));
    const auto start = Clock::now();
    connection.run("durable");
    ours.push_back(microseconds_since(start));
  }
  ::close(file);
  std::printf(
      "the same, durable                     p50 %6.1f us  p99 %6.1f us   floor (two fdatasync) p50 %6.1f us "
      "  "
      "difference %.1f us\n",
      percentile(ours, 0.5), percentile(ours, 0.99), percentile(floor, 0.5),
      percentile(ours, 0.5) - percentile(floor, 0.5));
}

double bare_rate(int count) {
  const auto start = Clock::now();
  std::vector<std::thread> lanes;
  lanes.reserve(lane_count);
  for (int lane = 0; lane < lane_count; ++lane) {
    lanes.emplace_back([count] {
      std::array<char*, 2> argv = {const_cast<char*>("/bin/true"), nullptr};
      for (int i = 0; i < count / lane_count; ++i) {
        pid_t pid = 0;
        ::posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ);
        ::waitpid(pid, nullptr, 0);
      }
    });
  }
  for (auto& lane : lanes) lane.join();
  return count / (microseconds_since(start) / 1e6);
}

double task_rate(const Kurultaid& supervisor, int count) {
  const auto start = Clock::now();
  std::vector<std::thread> lanes;
  lanes.reserve(lane_count);
  for (int lane = 0; lane < lane_count; ++lane) {
    lanes.emplace_back([&supervisor, count] {
      Connection connection(supervisor.socket());
      for (int i = 0; i < count / lane_count; ++i) connection.run("true");
    });
  }
  for (auto& lane : lanes) lane.join();
  return count / (microseconds_since(start) / 1e6);
}

void exec_rate(const Kurultaid& supervisor, int count) {
  task_rate(supervisor, 20);  // both hosts are warm
  std::vector<double> ratios;
  std::vector<double> ours;
  std::vector<double> floor;
  for (int round = 0; round < 5; ++round) {
    floor.push_back(bare_rate(count));
    ours.push_back(task_rate(supervisor, count));
    ratios.push_back(ours.back() / floor.back());
  }
  std::printf(
      "exec of /bin/true, two at a time      %6.0f /s                      floor (bare posix_spawn) %6.0f /s "
      "  ratio %.2f (min %.2f, max %.2f of 5)\n",
      percentile(ours, 0.5), percentile(floor, 0.5), percentile(ratios, 0.5), percentile(ratios, 0),
      percentile(ratios, 1));
}

double resident_mib(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::atof(line.c_str() + 6) / 1024;
  }
  return 0;
}

void resident(const Kurultaid& supervisor, const char* when) {
  std::printf("supervisor with two idle workers      %6.2f MiB resident, %s\n",
              resident_mib(supervisor.pid()), when);
}

// The kernel's own maximum of all workers together: one leaks, so it is the leak's.
void overshoot(const Kurultaid& supervisor) {
  Connection connection(supervisor.socket());
  const auto start = Clock::now();
  const std::string task = connection.run("leak");
  const double ms = microseconds_since(start) / 1000;
  for (const std::string& path : supervisor.workers_groups()) {
    for (const char* name : {"/memory.max_usage_in_bytes", "/memory.peak"}) {
      std::ifstream file(path + name);
      std::int64_t most = 0;
      if (!(file >> most)) continue;
      const bool capped = task.find("\"memory_cap\"") != std::string::npos;
      std::printf(
          "leak at full speed, cap 256 MiB       %s after %.0f ms; most ever charged %s, overshoot %s\n",
          capped ? "ended by memory_cap" : "NOT ended by its cap", ms, to_string(Bytes{most}).c_str(),
          to_string(Bytes{std::max<std::int64_t>(0, most - mebibytes(256).count)}).c_str());
    }
  }
}

constexpr int many_workers = 1000;

void print_decision(const char* what, const std::vector<double>& times) {
  std::printf("%-37s p50 %6.1f us  p99 %6.1f us\n", what, percentile(times, 0.5), percentile(times, 0.99));
}

// Above the kill threshold, where all who run are ranked, each time in another order; ids as long as real
// ones.
void decide_time(int rounds) {
  std::mt19937 random(1);
  std::vector<Candidate> running;
  Bytes used;
  for (int i = 0; i < many_workers; ++i) {
    Candidate task{.task_id = "01J0000000000000000000" + std::to_string(1000 + i), .memory = {}};
    task.priority = all_priorities[random() % priority_count];
    task.memory = mebibytes(1 + static_cast<std::int64_t>(random() % 400));
    used += task.memory;
    running.push_back(std::move(task));
  }
  const Situation full{.used = used, .budget = used, .running = running, .idle = {}, .ending = {}};
  Governor governor{Thresholds{}};
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    for (Candidate& task : running) task.work_lost = static_cast<double>(random() % 1000);
    const auto start = Clock::now();
    governor.decide(full, TimePoint{});
    times.push_back(microseconds_since(start));
  }
  print_decision("decide with 1,000 tasks", times);
}

// Below every threshold, where all grow, so that somebody has to give way for a prediction: the growth of a
// thousand readings, and the decision.
void foresee_time(int rounds) {
  std::vector<GrowthWatch> watches(many_workers);
  std::vector<Candidate> running;
  for (int i = 0; i < many_workers; ++i) {
    Candidate task{.task_id = "01J0000000000000000000" + std::to_string(1000 + i), .memory = mebibytes(100)};
    task.most = mebibytes(1000);
    task.grace = Duration(5000);
    task.may_leave_early = true;
    running.push_back(std::move(task));
  }
  const Bytes budget = mebibytes(150 * many_workers);
  std::vector<double> noting, deciding;
  TimePoint now{};
  for (int i = 0; i < rounds; ++i) {
    now += Duration(100);
    const Bytes held = kibibytes(i);
    const auto start = Clock::now();
    for (std::size_t k = 0; k < watches.size(); ++k) {
      watches[k].note(now, held);
      running[k].growth = watches[k].growth();
    }
    noting.push_back(microseconds_since(start));
    for (Candidate& task : running) task.growth = {mebibytes(10), Duration(60'000)};
    Situation situation{.used = mebibytes(100 * many_workers),
                        .budget = budget,
                        .running = running,
                        .idle = {},
                        .ending = {}};
    situation.time_to_act = Duration(1000);
    Governor governor{Thresholds{}};
    const auto asked = Clock::now();
    const auto actions = governor.decide(situation, now);
    deciding.push_back(microseconds_since(asked));
    if (actions.size() < 2) std::abort();
  }
  print_decision("growth of 1,000 workers, a reading", noting);
  print_decision("decide with 1,000 tasks, foreseen", deciding);
}

// No two alike, and just not room for all caps, so that the sharing takes many rounds.
void share_out_time(int rounds) {
  std::mt19937 random(1);
  std::vector<Holder> holders;
  Bytes total;
  for (int i = 0; i < many_workers; ++i) {
    const Bytes charge = mebibytes(static_cast<std::int64_t>(random() % 400));
    holders.push_back({charge, charge + kibibytes(std::int64_t{4} * (many_workers - i)), random() % 4 == 0});
    total += holders.back().cap;
  }
  total -= mebibytes(1);
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    std::ranges::shuffle(holders, random);
    const auto start = Clock::now();
    share_out(total, holders);
    times.push_back(microseconds_since(start));
  }
  print_decision("edges of 1,000 workers", times);
}

// Of groups that hold nothing, which costs the kernel as much.
void reading_time(int rounds) {
  const char* parent = std::getenv("KURULTAI_MEMORY_CGROUP_PARENT");
  const auto controller = choose_controller({.instance = "bench" + std::to_string(::getpid()),
                                             .cgroup_parent = parent == nullptr ? "self" : parent,
                                             .companions = {}});
  if (controller->slow()) {
    std::printf("a reading of 1,000 workers             no cgroup can be written here\n");
    return;
  }
  std::vector<std::unique_ptr<WorkerGroup>> groups;
  groups.reserve(many_workers);
  for (int i = 0; i < many_workers; ++i) {
    auto group = controller->make_group("w" + std::to_string(i), {.memory = mebibytes(64)});
    if (!group) give_up(group.error().message);
    groups.push_back(*std::move(group));
  }
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const auto start = Clock::now();
    const auto reading = controller->reading_job(true)();
    times.push_back(microseconds_since(start));
    if (!reading || reading->groups.size() != many_workers) give_up("not all groups were read");
  }
  print_decision("a reading of 1,000 workers", times);
}

constexpr int some_workers = 50;

KurultaidOptions with_some_workers(const std::string& tier) {
  return {.config = "memory: {budget: 1GiB, monitoring_tier: " + tier +
                    "}\nadmission: none\nworkers: {max: 50, memory_limit: 256MiB, "
                    "memory_warning: 250MiB}\nqueue: {max_depth: 100, limits: {normal: 100}}\n"
                    "agents: {nap: {protocol: exec, command: [sleep, '1']}}\n"};
}

void start_workers(const Kurultaid& supervisor) {
  Connection connection(supervisor.socket());
  for (int i = 0; i < some_workers; ++i) connection.ask("POST", "/v1/tasks", R"({"agent":"nap"})");
  const auto idle = [&] {
    return connection.ask("GET", "/metrics").find("kurultai_workers_idle 50") != std::string::npos;
  };
  while (!idle()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

void idle_cost() {
  static constexpr std::chrono::seconds watched{10};
  const Kurultaid supervisor(with_some_workers("production"));
  start_workers(supervisor);
  const double before = cpu_time(supervisor.pid());
  std::this_thread::sleep_for(watched);
  const double used = cpu_time(supervisor.pid()) - before;
  std::printf("idle with 50 workers                  %.3f %% of a core over 10 s\n",
              used / 1e9 / static_cast<double>(watched.count()) * 100);
}

// Of watching for leaks: a figure beside that of a supervisor that does not. Side by side, because what is
// counted is the processes' own time.
void tier_cost() {
  static constexpr std::chrono::seconds watched{61};  // at least one look of the rarest
  static constexpr std::array<const char*, 3> tiers = {"disabled", "production", "development"};
  std::vector<std::unique_ptr<Kurultaid>> supervisors;
  std::vector<double> before;
  for (const char* tier : tiers) {
    supervisors.push_back(std::make_unique<Kurultaid>(with_some_workers(tier)));
    start_workers(*supervisors.back());
  }
  before.reserve(supervisors.size());
  for (const auto& supervisor : supervisors) before.push_back(cpu_time(supervisor->pid()));
  std::this_thread::sleep_for(watched);
  for (std::size_t i = 0; i < tiers.size(); ++i) {
    const double used = cpu_time(supervisors[i]->pid()) - before[i];
    std::printf("50 workers, monitoring tier %-11s %.3f %% of a core over a minute, %.2f MiB resident\n",
                tiers[i], used / 1e9 / static_cast<double>(watched.count()) * 100,
                resident_mib(supervisors[i]->pid()));
  }
}

// A look at each, of a life of two days that leaks for its last hour: it takes all tests in all windows.
void leak_verdicts_time(int rounds) {
  using std::chrono::minutes;
  constexpr int life = 2 * 24 * 60;
  const auto bytes = [](int minute) {
    return Bytes{50'000'000 + std::max(minute - life + 60, 0) * 5'000'000LL + minute * 7919 % 1000 * 1000LL};
  };
  LeakWatch watch;
  for (int i = 0; i < life; ++i) watch.note(TimePoint(minutes(i)), minutes(1), bytes(i), {});
  std::vector<LeakWatch> watches(many_workers, watch);
  std::vector<double> times;
  for (int i = life; i < life + rounds; ++i) {
    const auto start = Clock::now();
    int leaks = 0;
    for (LeakWatch& each : watches) {
      each.note(TimePoint(minutes(i)), minutes(1), bytes(i), {});
      leaks += each.verdict().level != LeakLevel::none ? 1 : 0;
    }
    times.push_back(microseconds_since(start));
    if (leaks == 0) give_up("no leak was seen");
  }
  print_decision("leak verdicts for 1,000 workers", times);
}

/// Sets a variable of the environment as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

Kurultaid without_governance() {
  const Variable off("FF_MEMORY_GOVERNANCE", "false");
  return Kurultaid(options());
}

// Taken by turns, task by task; the ratio is that of blocks, so that other load of the machine meets both.
void governance_cost(int blocks, int rounds) {
  const Kurultaid on(options());
  const Kurultaid off = without_governance();
  Connection with(on.socket());
  Connection without(off.socket());
  std::vector<double> ratios;
  std::vector<double> governed_p99;
  std::vector<double> free_p99;
  for (int block = 0; block < blocks; ++block) {
    std::vector<double> governed_times;
    std::vector<double> free_times;
    for (int i = 0; i < rounds; ++i) {
      auto start = Clock::now();
      with.run("noop");
      governed_times.push_back(microseconds_since(start));
      start = Clock::now();
      without.run("noop");
      free_times.push_back(microseconds_since(start));
    }
    governed_p99.push_back(percentile(governed_times, 0.99));
    free_p99.push_back(percentile(free_times, 0.99));
    ratios.push_back(governed_p99.back() / free_p99.back());
  }
  std::printf(
      "no-op task with governance, p99       p50 %6.1f us of %d blocks   floor (without governance) %6.1f us "
      " "
      " ratio %.2f (min %.2f, max %.2f)\n",
      percentile(governed_p99, 0.5), blocks, percentile(free_p99, 0.5), percentile(ratios, 0.5),
      percentile(ratios, 0), percentile(ratios, 1));
}

void reaction_time(int rounds) {
  const Reactions reactions = measure_reactions(rounds);
  const auto print = [](const char* what, const std::vector<double>& times) {
    std::printf("%-37s p50 %6.0f us  p99 %6.0f us   (%zu)\n", what, percentile(times, 0.5),
                percentile(times, 0.99), times.size());
  };
  print("edge reached to grant raised, loaded", reactions.raised_us);
  print("edge reached to SIGKILL, loaded", reactions.killed_us);
  print("  floor (eventfd to a thread as nice)", measure_wake_ups(500));
}

struct Figure {
  const char* name;
  void (*measure)();
};
constexpr Figure figures[] = {
    {"decide",
     [] {
       decide_time(2000);
       foresee_time(1000);
     }},
    {"edges", [] { share_out_time(2000); }},
    {"reading", [] { reading_time(200); }},
    {"idle", idle_cost},
    {"verdicts", [] { leak_verdicts_time(200); }},
    {"tiers", tier_cost},
    {"health", measure_health},
    {"reaction", [] { reaction_time(100); }},
    {"overshoot", [] { overshoot(Kurultaid(options())); }},
    {"tasks",
     [] {
       const Kurultaid supervisor(options());
       for (const char* agent : {"noop", "durable"}) Connection(supervisor.socket()).run(agent);
       resident(supervisor, "fresh");
       round_trip(supervisor, 5000);
       durable_round_trip(supervisor, 1000);
       governance_cost(9, 2000);
       exec_rate(supervisor, 1000);
       resident(supervisor, "after some thousand tasks");
     }},
    {"throughput", measure_throughput},
};

/// All of them, or those named.
int measure(std::span<char*> names) {
  for (const Figure& figure : figures) {
    if (names.empty() || std::ranges::find(names, std::string_view(figure.name)) != names.end())
      figure.measure();
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "--leak") return leak();
  if (mode == "--spin") spin();
  if (mode == "--health-agent" && argc > 2) return health_agent(argv[2]);
  ::signal(SIGPIPE, SIG_IGN);
  const std::span<char*> names(argv + 1, argv + argc);
  return run_program([&] { return mode == "--agent" ? no_op_agent() : measure(names); });
}
