#include "tools/bench/health.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "governance/health_checks.h"
#include "protocol/json_text.h"
#include "tools/bench/child.h"
#include "tools/bench/connection.h"
#include "tools/bench/kurultaid.h"

namespace kurultai::bench {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Load {
  int workers;
  milliseconds asked;  // for a cycle
};
constexpr std::array loads = {Load{50, milliseconds(20)}, Load{100, milliseconds(40)},
                              Load{1000, milliseconds(200)}};
constexpr seconds watched{5};

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

std::string config_text(const Load& load, const std::string& gate, const std::string& health) {
  const std::string self = own_path(), most = std::to_string(load.workers + 1);
  return "memory: {budget: 16GiB}\nadmission: none\n"
         "workers: {max: " +
         most +
         ", memory_limit: 16MiB, memory_warning: 16MiB, idle_timeout: 1h}\n"
         "queue: {max_depth: 2000, limits: {normal: 2000}}\ncircuit_breakers: {failures: 1000}\nagents:\n"
         "  noop: {command: [" +
         self +
         ", --agent], durability: none}\n"
         "  watched: {command: [" +
         self + ", --health-agent, " + gate + "], durability: none, start_timeout: 10m, health: " + health +
         "}\n";
}

/// The value of one sample; 0 if there is none.
double metric(const std::string& text, const std::string& sample) {
  const std::size_t at = text.find("\n" + sample + " ");
  return at == std::string::npos ? 0 : std::atof(text.c_str() + at + sample.size() + 2);
}

double checks(const std::string& text, const char* result) {
  return metric(text, "kurultai_health_checks_total{result=\"" + std::string(result) + "\"}");
}

/// Polls until the sample has this value.
void await(Connection& connection, const std::string& sample, double value) {
  const auto start = Clock::now();
  while (metric(connection.ask("GET", "/metrics"), sample) != value) {
    if (Clock::now() - start > std::chrono::minutes(5)) give_up("not in time: " + sample);
    std::this_thread::sleep_for(milliseconds(100));
  }
}

/// As many as there are tasks, because none ends before the gate is opened.
void start_workers(Connection& connection, const Load& load, const std::string& gate) {
  for (int i = 0; i < load.workers; ++i) connection.ask("POST", "/v1/tasks", R"({"agent":"watched"})");
  await(connection, "kurultai_workers_spawned_total", load.workers);
  const int open = ::open(gate.c_str(), O_RDWR | O_CLOEXEC);
  await(connection, "kurultai_workers_idle", load.workers);
  ::close(open);
  connection.run("noop");
}

struct Observed {
  std::vector<double> task_us;
  double elapsed_s = 0;
  double cpu_ms = 0;
  double passed = 0;
  double missed = 0;
  double at_once = 0;  // share of the dispatches within a millisecond
};

/// Of what was dispatched between two looks at the metrics.
double share_within_1_ms(const std::string& before, const std::string& after) {
  const auto gained = [&](const char* sample) { return metric(after, sample) - metric(before, sample); };
  const double all = gained("kurultai_dispatch_seconds_count");
  return all == 0 ? 0 : gained("kurultai_dispatch_seconds_bucket{le=\"0.001\"}") / all;
}

/// Short tasks, one after the other, and what was checked meanwhile.
Observed watch(const Kurultaid& supervisor, Connection& connection) {
  Observed seen;
  const std::string before = connection.ask("GET", "/metrics");
  const double cpu = cpu_time(supervisor.pid());
  const auto start = Clock::now();
  while (Clock::now() - start < watched) {
    const auto asked = Clock::now();
    connection.run("noop");
    seen.task_us.push_back(microseconds_since(asked));
    std::this_thread::sleep_for(milliseconds(1));
  }
  seen.elapsed_s = microseconds_since(start) / 1e6;
  seen.cpu_ms = (cpu_time(supervisor.pid()) - cpu) / 1e6;
  const std::string after = connection.ask("GET", "/metrics");
  seen.passed = checks(after, "passed") - checks(before, "passed");
  seen.at_once = share_within_1_ms(before, after);
  seen.missed = checks(after, "timed_out") - checks(before, "timed_out");
  return seen;
}

/// From PING to PONG, of the last check of each.
std::vector<double> answer_times_ms(Connection& connection) {
  std::vector<double> times;
  const auto answer = parse_json(connection.ask("GET", "/v1/workers"));
  if (!answer) give_up(answer.error().message);
  for (const auto& worker : answer->at("workers")) {
    if (const auto& took = worker.at("health").at("tookMs"); took.is_number()) times.push_back(took);
  }
  return times;
}

void print_tasks(const char* what, const Observed& seen, const Observed& quiet) {
  std::printf(
      "  a no-op task %-22s p50 %6.1f us  p99 %6.1f us  max %7.1f us   dispatched within 1 ms %6.2f %%   "
      "supervisor %4.1f %% of a core\n",
      what, percentile(seen.task_us, 0.5), percentile(seen.task_us, 0.99), percentile(seen.task_us, 1),
      seen.at_once * 100, seen.cpu_ms / seen.elapsed_s / 10);
  if (seen.passed == 0) return;
  // The tasks' own share is that of the quiet time.
  const double share =
      quiet.cpu_ms / static_cast<double>(quiet.task_us.size()) * static_cast<double>(seen.task_us.size());
  std::printf("  a check costs the supervisor                  %6.1f us of processor time\n",
              std::max(0.0, seen.cpu_ms - share) * 1000 / seen.passed);
}

void measure(const Load& load) {
  char directory[] = "/tmp/kurultai-bench-XXXXXX";
  if (::mkdtemp(directory) == nullptr) give_up("mkdtemp");
  const std::string gate = std::string(directory) + "/gate";
  if (::mkfifo(gate.c_str(), 0600) != 0) give_up("mkfifo");
  {
    const Kurultaid supervisor({.config = config_text(load, gate, "passive")});
    Connection connection(supervisor.socket());
    start_workers(connection, load, gate);
    std::printf("%d idle workers\n", load.workers);
    const Observed quiet = watch(supervisor, connection);
    print_tasks("without checks", quiet, quiet);
    for (milliseconds interval = load.asked; interval >= milliseconds(10); interval /= 2) {
      const std::string every = std::to_string(interval.count()) + "ms";
      std::string checks = "{strategy: ping, interval: ";
      checks.append(every).append(", timeout: ").append(every).append(", failures: 100}");
      supervisor.configure(config_text(load, gate, checks));
      connection.ask("POST", "/v1/reload");
      await(connection, "kurultai_workers_health{status=\"healthy\"}", load.workers);
      const Observed seen = watch(supervisor, connection);
      const double cycle_ms = seen.elapsed_s * 1000 / (seen.passed / load.workers);
      const auto answers = answer_times_ms(connection);
      std::printf(
          "  all of them every %-5s                       %6.1f ms a cycle  %.0f checks, %.0f missed   PING "
          "to PONG "
          "p50 %.3f ms  p99 %.3f ms\n",
          every.c_str(), cycle_ms, seen.passed + seen.missed, seen.missed, percentile(answers, 0.5),
          percentile(answers, 0.99));
      print_tasks("beside the checks", seen, quiet);
      if (load.asked / interval >= 4) break;
    }
    const std::string metrics = connection.ask("GET", "/metrics");
    std::printf("  the longest turn of the loop with checks      %6.1f us\n",
                metric(metrics, "kurultai_health_longest_turn_seconds") * 1e6);
  }
  ::unlink(gate.c_str());
  ::rmdir(directory);
}

/// The table alone: everybody is due, is asked, and answers.
void table_time() {
  constexpr HealthRule rule{HealthStrategy::ping, Duration(200), Duration(200), 3};
  constexpr int many = 1000, rounds = 200;
  HealthChecks table;
  TimePoint now{};
  for (int i = 0; i < many; ++i) table.watch("w" + std::to_string(i), rule, now);
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    now += rule.interval;
    const auto start = Clock::now();
    for (const auto& due : table.take_due(now, many))
      table.passed(due.worker, table.begin(due.worker, now), now);
    times.push_back(microseconds_since(start));
  }
  std::printf("the table, 1,000 checks                         p50 %6.1f us  p99 %6.1f us\n",
              percentile(times, 0.5), percentile(times, 0.99));
}

}  // namespace

void measure_health() {
  table_time();
  for (const Load& load : loads) measure(load);
}

int health_agent(const char* gate) {
  write_all(1, "{\"type\":\"READY\",\"protocol\":1,\"name\":\"watched\"}\n");
  std::string buffered;
  std::array<char, 4096> bytes{};
  for (ssize_t count = 0; (count = ::read(0, bytes.data(), bytes.size())) > 0;) {
    buffered.append(bytes.data(), static_cast<std::size_t>(count));
    for (std::size_t end = 0; (end = buffered.find('\n')) != std::string::npos; buffered.erase(0, end + 1)) {
      const std::string line = buffered.substr(0, end);
      static constexpr std::string_view ping = "{\"type\":\"PING\",",
                                        task = "{\"type\":\"TASK\",\"taskId\":\"";
      if (line.starts_with(ping)) write_all(1, "{\"type\":\"PONG\"," + line.substr(ping.size()) + "\n");
      if (!line.starts_with(task)) continue;
      ::close(::open(gate, O_RDONLY | O_CLOEXEC));  // waits until somebody has it open for writing
      const std::string id = line.substr(task.size(), line.find('"', task.size()) - task.size());
      write_all(1, "{\"type\":\"COMPLETE\",\"taskId\":\"" + id + "\"}\n");
    }
  }
  return 0;
}

}  // namespace kurultai::bench
