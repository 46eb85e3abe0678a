#include "config/settings.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <utility>

#include "config/health_setting.h"
#include "config/output_setting.h"
#include "config/setting_row.h"
#include "config/setting_types.h"

namespace kurultai {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Applies live = Applies::live;
constexpr Applies at_restart = Applies::at_restart;

constexpr std::int64_t many = 1'000'000;
constexpr Bytes largest = gibibytes(1 << 20);
constexpr Duration longest{hours(24 * 3650)};

constexpr Size any_size{{0}, largest};
constexpr Size worker_size{mebibytes(1), largest};
constexpr TimeSpan from_zero{Duration(0), longest};
constexpr TimeSpan above_zero{milliseconds(1), longest};

template <typename Type, typename Access>
void add(std::vector<Setting<Config>>& table, std::string path, Applies applies, std::string about,
         const Type& type, Access access) {
  table.push_back(setting_row<Config>(std::move(path), applies, std::move(about), type, access));
}

void add_threshold(std::vector<Setting<Config>>& table, Threshold threshold, std::string about) {
  const auto index = static_cast<std::size_t>(threshold);
  add(table, "memory.thresholds." + std::string(to_string(threshold)), live, std::move(about), Share{false},
      [index](auto& root) -> auto& { return root.memory.thresholds.ratio[index]; });
}

void add_ladder(std::vector<Setting<Config>>& table) {
  const auto rung = [&table](const char* name, std::string about, bool LadderConfig::* member) {
    add(table, std::string("memory.ladder.") + name, live, std::move(about), Flag{},
        field(&Config::memory, &MemoryConfig::ladder, member));
  };
  rung("hint", "Whether agents are told of every threshold that is crossed upwards (PRESSURE)",
       &LadderConfig::hint);
  rung("reclaim", "Whether page cache is taken back before anybody is killed", &LadderConfig::reclaim);
  rung("end_idle", "Whether workers without a task end before any task gives way", &LadderConfig::end_idle);
  rung("suspend", "Whether tasks are stopped and paged out, where there is swap, rather than preempted",
       &LadderConfig::suspend);
  rung("preempt", "Whether tasks are preempted at all above thresholds.preempt", &LadderConfig::preempt);
}

void add_memory(std::vector<Setting<Config>>& table) {
  add(table, "memory.budget", live,
      "What all workers and the supervisor may use together; auto: what the machine gives",
      SizeOr{{mebibytes(16), largest}, "auto"}, field(&Config::memory, &MemoryConfig::budget));
  add(table, "memory.machine_reserve", live,
      "What is left to all else on the machine: when less than this would be available to others, tasks give "
      "way although the budget is not used up; auto: a sixteenth of the machine, from 32MiB to 1GiB; 0: the "
      "machine is not looked at",
      SizeOr{{Bytes{0}, largest}, "auto"}, field(&Config::memory, &MemoryConfig::machine_reserve));
  add_threshold(table, Threshold::skip_heartbeats, "Share of the budget above which heartbeats are skipped");
  add_threshold(table, Threshold::preempt,
                "Share of the budget above which the least important task gives way");
  add_threshold(table, Threshold::reject, "Share of the budget above which new tasks are refused");
  add_threshold(table, Threshold::kill, "Share of the budget above which the least important task is killed");
  add_ladder(table);
  add(table, "memory.predict", live,
      "Whether tasks give way below thresholds.preempt when memory grows so fast that the kill threshold "
      "would "
      "be reached before their grace is over",
      Flag{}, field(&Config::memory, &MemoryConfig::predict));
  add(table, "memory.hysteresis", live, "How much lower than where it fired a threshold clears", Share{true},
      field(&Config::memory, &MemoryConfig::thresholds, &Thresholds::hysteresis));
  add(table, "memory.check_interval", live, "The slow tick of readings; the kernel's events act at once",
      TimeSpan{milliseconds(10), hours(1)}, field(&Config::memory, &MemoryConfig::check_interval));
  add(table, "memory.monitoring_tier", live, "How closely workers are watched for leaks",
      Choice<MonitoringTier>{{{"production", MonitoringTier::production},
                              {"development", MonitoringTier::development},
                              {"disabled", MonitoringTier::disabled}}},
      field(&Config::memory, &MemoryConfig::monitoring_tier));
  add(table, "memory.leak_interval", live,
      "Between two looks for leaks, which are closer while memory grows; 0: 60s, in the tier development 10s",
      TimeSpan{Duration(0), hours(24)}, field(&Config::memory, &MemoryConfig::leak_interval));
  add(table, "memory.cgroup_parent", at_restart,
      "The control group to work in: self is the one the supervisor was started in, / the controller's root",
      Text{"self or a path", cgroup_parent, "^(self|/(?!(.*/)?\\.\\.(/|$)).*)$"},
      field(&Config::memory, &MemoryConfig::cgroup_parent));
}

void add_workers(std::vector<Setting<Config>>& table) {
  add(table, "workers.max", live,
      "How many workers there are at most, of all agents together; auto: as many as memory lets in",
      WholeNumberOr{{1, 1024}, "auto"}, field(&Config::workers, &WorkersConfig::max));
  add(table, "workers.memory_limit", live, "The cap of a worker whose agent has none of its own", worker_size,
      field(&Config::workers, &WorkersConfig::memory_limit));
  add(table, "workers.memory_warning", live, "A worker above it is reported; at most the limit", any_size,
      field(&Config::workers, &WorkersConfig::memory_warning));
  add(table, "workers.idle_timeout", live, "A worker without work ends after this", from_zero,
      field(&Config::workers, &WorkersConfig::idle_timeout));
  add(table, "workers.max_restarts_per_hour", live,
      "Abnormal ends of an agent's workers in an hour before it has to wait", WholeNumber{0, many},
      field(&Config::workers, &WorkersConfig::max_restarts_per_hour));
}

void add_queue(std::vector<Setting<Config>>& table) {
  add(table, "queue.max_depth", live, "How many tasks may wait", WholeNumber{1, many},
      field(&Config::queue, &QueueLimits::max_depth));
  for (const Priority priority : all_priorities) {
    const auto index = static_cast<std::size_t>(priority);
    const std::string name(to_string(priority));
    add(table, "queue.limits." + name, live,
        "How many tasks of priority " + name + " may wait; at most max_depth count", WholeNumber{0, many},
        [index](auto& root) -> auto& { return root.queue.per_level[index]; });
  }
  add(table, "queue.backfill", live,
      "Whether a task that fits may start before one of its own priority that waits for memory", Flag{},
      field(&Config::overtaking, &OvertakingConfig::backfill));
  add(table, "queue.max_passes", live, "How often a task that waits for memory may be passed like that",
      WholeNumber{0, many}, field(&Config::overtaking, &OvertakingConfig::max_passes));
  add(table, "admission", live,
      "What must fit below memory.thresholds.preempt for a task to start: its footprint (what tasks like it "
      "used; until three have run an equal part for each of workers.max, or the cap where that is auto), its "
      "cap, or none",
      Choice<AdmissionRule>{{{"footprint", AdmissionRule::footprint},
                             {"cap", AdmissionRule::cap},
                             {"none", AdmissionRule::none}}},
      field(&Config::admission));
}

void add_breakers(std::vector<Setting<Config>>& table) {
  add(table, "circuit_breakers.failures", live, "So many failures in `window` open a breaker",
      WholeNumber{1, 1000}, field(&Config::circuit_breakers, &BreakerSettings::failures));
  add(table, "circuit_breakers.window", live, "The time in which failures are counted", above_zero,
      field(&Config::circuit_breakers, &BreakerSettings::window));
  add(table, "circuit_breakers.successes", live, "So many successes in a row close a half-open breaker",
      WholeNumber{1, 1000}, field(&Config::circuit_breakers, &BreakerSettings::successes));
  add(table, "circuit_breakers.backoff", live,
      "How long a breaker stays open: the first time, the second, and so on", TimeSpans{above_zero, 32},
      field(&Config::circuit_breakers, &BreakerSettings::backoff));
  add(table, "circuit_breakers.probe_timeout", live,
      "How long an agent may leave the one call of a half-open breaker unanswered before another is let "
      "through",
      above_zero, field(&Config::circuit_breakers, &BreakerSettings::probe_timeout));
}

void add_gateway(std::vector<Setting<Config>>& table) {
  add(table, "gateway.listen", at_restart, "HOST:PORT of HTTP, or none for the Unix socket alone",
      Text{"HOST:PORT or none", listen_address, "^(none|(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9.-]+):[0-9]+)$"},
      field(&Config::gateway, &GatewayConfig::listen));
  add(table, "gateway.max_body", live, "The largest JSON body of a request", Size{kibibytes(1), gibibytes(1)},
      field(&Config::gateway, &GatewayConfig::max_body));
  add(table, "gateway.max_connections", live, "How many clients may be connected", WholeNumber{1, many},
      field(&Config::gateway, &GatewayConfig::max_connections));
  add(table, "gateway.max_connections_per_peer", live,
      "How many connections one address may hold, or one user on the Unix socket", WholeNumber{1, many},
      field(&Config::gateway, &GatewayConfig::max_connections_per_peer));
  add(table, "gateway.token_file", at_restart,
      "Where the bearer token stands; \"\": token in the state directory", Text{"a path", any_text, ""},
      field(&Config::gateway, &GatewayConfig::token_file));
  add(table, "gateway.auth", at_restart, "token, or none to do without on a loopback address",
      Choice<bool>{{{"token", true}, {"none", false}}}, field(&Config::gateway, &GatewayConfig::auth));
  add(table, "gateway.cors_origins", live,
      "Pages of these origins may use the interface too, with the token, as in https://ops.example.org",
      Texts{{"an origin", web_origin, "^https?://(\\[[0-9a-f:.]+\\]|[a-z0-9_.-]+)(:[1-9][0-9]{0,4})?$"},
            true},
      field(&Config::gateway, &GatewayConfig::cors_origins));
}

void add_rest(std::vector<Setting<Config>>& table) {
  add(table, "ipc.max_line", at_restart, "The longest line an agent may send",
      Size{kibibytes(1), gibibytes(1)}, field(&Config::ipc, &IpcConfig::max_line));
  add(table, "store.retention", live, "Finished tasks are forgotten after this", above_zero,
      field(&Config::store, &StoreConfig::retention));
  add(table, "store.max_finished", live, "How many finished tasks are kept, the newest",
      WholeNumber{1, 10 * many}, field(&Config::store, &StoreConfig::max_finished));
  add(table, "store.max_held", live, "How much memory finished tasks may hold together", any_size,
      field(&Config::store, &StoreConfig::max_held));
  add(table, "store.max_payload", live, "The largest payload that comes as bytes, and not as JSON", any_size,
      field(&Config::store, &StoreConfig::max_payload));
  add(table, "store.max_spool", live,
      "How much disk payloads and large results may take together; the results of the oldest tasks make room",
      any_size, field(&Config::store, &StoreConfig::max_spool));
  add(table, "store.max_result", live, "The largest result of a task", any_size,
      field(&Config::store, &StoreConfig::max_result));
  add(table, "store.max_log", live, "How much log of a task is kept, the newest", any_size,
      field(&Config::store, &StoreConfig::max_log));
  add(table, "exec.allow", live, "Whether clients may name commands themselves (kurultai exec)", Flag{},
      field(&Config::exec, &ExecConfig::allow));
}

std::vector<Setting<Config>> make_config_settings() {
  std::vector<Setting<Config>> table;
  add_memory(table);
  add_workers(table);
  add_queue(table);
  add_breakers(table);
  add_gateway(table);
  add_rest(table);
  return table;
}

template <typename Type, typename Access>
void add(std::vector<Setting<AgentConfig>>& table, std::string path, std::string about, const Type& type,
         Access access) {
  table.push_back(setting_row<AgentConfig>(std::move(path), live, std::move(about), type, access));
}

void add_program(std::vector<Setting<AgentConfig>>& table) {
  add(table, "protocol",
      "jsonl: speaks the agent protocol and stays warm; exec: any command, run once per task; mcp: a server "
      "of the Model Context Protocol on stdio, a task is one call",
      Choice<AgentProtocol>{
          {{"jsonl", AgentProtocol::jsonl}, {"exec", AgentProtocol::exec}, {"mcp", AgentProtocol::mcp}}},
      field(&AgentConfig::protocol));
  add(table, "command",
      "The program and its arguments; of an exec agent they may hold {field} of the payload",
      Texts{{"a word", any_text, ""}, false}, field(&AgentConfig::command));
  add(table, "env",
      "Variables that the agent gets besides the allowed ones; {file: PATH} for a secret, which is read when "
      "a "
      "worker starts",
      Variables{}, field(&AgentConfig::env));
  add(table, "env_pass", "Names of the supervisor's variables that the agent gets too; \"*\" for all",
      Texts{{"a name", variable_name_or_all, "^(\\*|[A-Za-z_][A-Za-z0-9_]{0,254})$"}, true},
      field(&AgentConfig::env_pass));
  add(table, "cwd", "Where it runs; \"\": where the supervisor was started", Text{"a path", any_text, ""},
      field(&AgentConfig::cwd));
  add(table, "user", "The account it runs as; \"\": the supervisor's own; auto: one for each worker",
      Text{"a user's name or number", account, "^([A-Za-z0-9_.$][A-Za-z0-9_.$-]{0,63})?$"},
      field(&AgentConfig::user));
  add(table, "home",
      "HOME; \"\": of its user; private: an empty directory that is removed after the worker, or after the "
      "task of an exec agent; or an absolute path",
      Text{"private or a path", home_directory, "^(private|/.*)?$"}, field(&AgentConfig::home));
  add(table, "tmp",
      "private: what it writes to /tmp and TMPDIR is its own, at most `size` (64MiB), and removed "
      "afterwards; \"\": as every program's",
      PrivateTmp{}, field(&AgentConfig::tmp));
  add(table, "sandbox",
      "bubblewrap: it can write to cwd, its private home and /tmp only, sees no other processes, and has no "
      "network unless `network` says so",
      Sandbox{}, field(&AgentConfig::sandbox));
  add(table, "stdin",
      "What an exec agent's command reads; payload: the task's, as JSON; else this text, {field} of the "
      "payload filled in",
      Text{"payload or a text", any_text, ""}, field(&AgentConfig::input));
  add(table, "output",
      "What an exec agent's stdout is; none: log; jsonl: lines, of which rules say what is progress, result "
      "and error",
      OutputSetting{}, field(&AgentConfig::output));
}

void add_caps(std::vector<Setting<AgentConfig>>& table) {
  add(table, "memory_limit", "The cap of a worker; absent: workers.memory_limit", SizeOr{worker_size, ""},
      field(&AgentConfig::memory_limit));
  add(table, "memory_warning", "A worker above it is reported; absent: workers.memory_warning",
      SizeOr{any_size, ""}, field(&AgentConfig::memory_warning));
  add(table, "max_processes", "How many processes and threads a worker may have; 0: any number",
      WholeNumber{0, 4 * many}, field(&AgentConfig::max_processes));
  add(table, "on_child_oom", "Whether a task fails when the kernel killed a child process for the cap",
      Choice<OnChildOom>{{{"fail", OnChildOom::fail}, {"warn", OnChildOom::warn}}},
      field(&AgentConfig::on_child_oom));
}

void add_times(std::vector<Setting<AgentConfig>>& table) {
  add(table, "timeout", "How long a task may run", above_zero, field(&AgentConfig::timeout));
  add(table, "start_timeout", "How long a worker may take until READY", above_zero,
      field(&AgentConfig::start_timeout));
  add(table, "stall_timeout", "How long a task may run without progress; 0: any time", from_zero,
      field(&AgentConfig::stall_timeout));
  add(table, "grace", "The time between asking to end and killing", TimeSpan{Duration(0), hours(1)},
      field(&AgentConfig::grace));
}

void add_conduct(std::vector<Setting<AgentConfig>>& table) {
  add(table, "protect",
      "Whether nothing but its own cap may end its tasks: neither preemption nor a kill for the budget",
      Flag{}, field(&AgentConfig::protect));
  add(table, "preemptable", "Whether its tasks may be preempted for more important ones", Flag{},
      field(&AgentConfig::preemptable));
  add(table, "suspendable",
      "Whether its tasks may be stopped for a while, their memory in swap; its connections have to bear that",
      Flag{}, field(&AgentConfig::suspendable));
  add(table, "idempotent", "Whether a task may run again after it was cut off", Flag{},
      field(&AgentConfig::idempotent));
  add(table, "durability", "full: its accepted tasks outlive the supervisor; none: they are not written down",
      Choice<Durability>{{{"full", Durability::full}, {"none", Durability::none}}},
      field(&AgentConfig::durability));
  add(table, "memory_growth",
      "A task that died of its cap is tried again with a cap so many times larger, up to what fits into the "
      "budget; 1: `retries` and the same cap",
      Factor{1, 16}, field(&AgentConfig::memory_growth));
  add(table, "max_memory_deaths", "With memory_growth: so many deaths by its cap, and a task is quarantined",
      WholeNumber{1, 100}, field(&AgentConfig::max_memory_deaths));
  add(table, "on_open",
      "New tasks while it keeps failing and its circuit is open; reject: refused with 503; hold: accepted, "
      "and they wait",
      Choice<OnOpen>{{{"reject", OnOpen::reject}, {"hold", OnOpen::hold}}}, field(&AgentConfig::on_open));
  add(table, "on_leak",
      "When a worker of it seems to leak; warn: it is told of; recycle: the worker is replaced after its "
      "tasks, too; ignore: nothing",
      Choice<OnLeak>{{{"warn", OnLeak::warn}, {"recycle", OnLeak::recycle}, {"ignore", OnLeak::ignore}}},
      field(&AgentConfig::on_leak));
  add(table, "retries", "How often a failed task is tried again", WholeNumber{0, 1000},
      field(&AgentConfig::retries));
  add(table, "max_tasks", "A worker is replaced after so many tasks; 0: never", WholeNumber{0, 1000 * many},
      field(&AgentConfig::max_tasks));
  add(table, "max_preemptions", "How often a task may be sent back before it fails", WholeNumber{0, 1000},
      field(&AgentConfig::max_preemptions));
  add(table, "concurrency", "How many tasks a worker runs at once; exec agents: 1", WholeNumber{1, 1024},
      field(&AgentConfig::concurrency));
  add(table, "max_workers",
      "How many workers it may have at once; 0: one of an mcp agent, whose tasks share a server, and any "
      "number "
      "of others",
      WholeNumber{0, 1024}, field(&AgentConfig::max_workers));
}

void add_health(std::vector<Setting<AgentConfig>>& table) {
  add(table, "health",
      "How its warm workers are checked; passive: not at all; ping: with PING, while they have no task; or a "
      "mapping, such as {strategy: command, command: [check.sh], interval: 30s, timeout: 5s, failures: 3}",
      HealthSetting{}, field(&AgentConfig::health));
}

std::vector<Setting<AgentConfig>> make_agent_settings() {
  std::vector<Setting<AgentConfig>> table;
  add_program(table);
  add_caps(table);
  add_times(table);
  add_conduct(table);
  add_health(table);
  return table;
}

/// May stand in a label of a metric.
std::optional<std::string> schedule_name(std::string_view name) {
  const std::string wrong = name.empty() ? "" : wrong_agent_name(name);
  return wrong.empty() ? std::nullopt
                       : std::optional(in_quotes(name) + " is no name: 1 to 64 letters, digits, _, . and -");
}

template <typename Type, typename Access>
void add(std::vector<Setting<ScheduleConfig>>& table, std::string path, std::string about, const Type& type,
         Access access) {
  table.push_back(setting_row<ScheduleConfig>(std::move(path), live, std::move(about), type, access));
}

std::vector<Setting<ScheduleConfig>> make_schedule_settings() {
  std::vector<Setting<ScheduleConfig>> table;
  add(table, "name", "What it is called; \"\": as its agent", Text{"a name", schedule_name, ""},
      field(&ScheduleConfig::name));
  add(table, "agent", "Whose tasks they are", Text{"an agent's name", any_text, ""},
      field(&ScheduleConfig::agent));
  add(table, "every", "How often; 0: by cron", TimeSpan{Duration(0), longest}, field(&ScheduleConfig::every));
  add(table, "cron",
      "When, as minute hour day-of-month month day-of-week, in the supervisor's time zone; or @daily and the "
      "like",
      Text{"times such as '30 4 * * 1-5'", times_of_day, ""}, field(&ScheduleConfig::cron));
  add(table, "jitter", "Each is late by a random part of this", from_zero, field(&ScheduleConfig::jitter));
  add(table, "overlap",
      "When the one before has not ended; skip: not this time; queue: when it has; replace: it is cancelled",
      Choice<Overlap>{{{"skip", Overlap::skip}, {"queue", Overlap::queue}, {"replace", Overlap::replace}}},
      field(&ScheduleConfig::overlap));
  Choice<Priority> priorities;
  for (const Priority priority : all_priorities)
    priorities.choices.emplace_back(to_string(priority), priority);
  add(table, "priority", "Of each task", priorities, field(&ScheduleConfig::priority));
  add(table, "payload", "Of each task", AnyValue{}, field(&ScheduleConfig::payload));
  add(table, "timeout", "How long each may run; 0: as its agent says", from_zero,
      field(&ScheduleConfig::timeout));
  return table;
}

bool is_plain_in_names(unsigned char c) { return std::isalnum(c) != 0; }

}  // namespace

const std::vector<Setting<Config>>& config_settings() {
  static const std::vector<Setting<Config>> table = make_config_settings();
  return table;
}

const std::vector<Setting<AgentConfig>>& agent_settings() {
  static const std::vector<Setting<AgentConfig>> table = make_agent_settings();
  return table;
}

const std::vector<Setting<ScheduleConfig>>& schedule_settings() {
  static const std::vector<Setting<ScheduleConfig>> table = make_schedule_settings();
  return table;
}

std::string wrong_agent_name(std::string_view name) {
  if (name == reserved_agent) return "the name exec is reserved for commands that clients name";
  const bool good = !name.empty() && name.size() <= 64 && name != "." && name != ".." &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return is_plain_in_names(c) || c == '_' || c == '.' || c == '-';
                    });
  if (good) return {};
  return in_quotes(name) + " is no name for an agent: 1 to 64 letters, digits, _, . and -";
}

std::string variable_of(std::string_view path) {
  std::string name = "KURULTAI_";
  for (const unsigned char c : path) name += is_plain_in_names(c) ? static_cast<char>(std::toupper(c)) : '_';
  return name;
}

}  // namespace kurultai
