// What an operator sets, as types. The comment behind a field is its key in memory.yaml.
#pragma once

#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "governance/circuit_breaker.h"
#include "governance/health_checks.h"
#include "governance/pressure.h"
#include "governance/schedule.h"
#include "governance/task_queue.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/output_rules.h"
#include "protocol/words.h"

namespace kurultai {

enum class AgentProtocol { jsonl, exec, mcp };
enum class OutputKind { text, json, none, jsonl };  // what an exec agent's stdout is; none: log
enum class Durability { full, none };               // none: a task may be lost with its supervisor
enum class OnChildOom { fail, warn };         // when the kernel killed a process of the tree for the cap
enum class OnLeak { warn, recycle, ignore };  // recycle: its worker is replaced after its task
enum class OnOpen { reject, hold };           // what happens to new tasks while its circuit is open
enum class MonitoringTier { production, development, disabled };
/// What a task is expected to use, before it starts: what tasks like it used, its cap, or nothing.
enum class AdmissionRule { footprint, cap, none };

inline constexpr std::string_view payload_input = "payload";

struct AgentOutput {
  OutputKind kind = OutputKind::text;
  OutputRules rules{};  // of jsonl
  bool operator==(const AgentOutput&) const = default;
};

/// A variable of an agent's environment: its text, or the file that holds it (a secret).
struct EnvValue {
  EnvValue(std::string its_text = "") : text(std::move(its_text)) {}
  EnvValue(const char* its_text) : text(its_text) {}
  static EnvValue from_file(std::string path) {
    EnvValue value;
    value.file = std::move(path);
    return value;
  }
  bool operator==(const EnvValue&) const = default;

  std::string text;
  std::string file;  // read at each start of a worker; empty: `text` counts
};

/// tmp: private | {private: true, size: 64MiB}
struct TmpConfig {
  bool is_private = false;
  Bytes size = mebibytes(64);  // of one worker; of an exec agent's: of one task
};

enum class SandboxKind { none, bubblewrap };

/// sandbox: bubblewrap | {kind: bubblewrap, network: true}
struct SandboxConfig {
  SandboxKind kind = SandboxKind::none;
  bool network = false;
};

inline constexpr std::string_view private_home = "private";

/// health: a strategy alone, or with what else it needs.
struct HealthConfig {
  HealthRule rule;
  std::vector<std::string> command = {};  // argv of the strategy `command`; else empty
  bool operator==(const HealthConfig&) const = default;
};

struct AgentConfig {
  std::string name;
  AgentProtocol protocol = AgentProtocol::jsonl;
  std::vector<std::string> command;     // argv; an exec agent's may hold {field}
  std::optional<Bytes> memory_limit;    // absent: workers.memory_limit
  std::optional<Bytes> memory_warning;  // absent: workers.memory_warning, at most the limit
  bool preemptable = true;
  bool suspendable = true;
  bool protect = false;  // nothing but its own cap may end it
  bool idempotent = true;
  Durability durability = Durability::full;
  Duration timeout{std::chrono::hours(1)};
  Duration start_timeout{std::chrono::seconds(30)};
  Duration stall_timeout{0};  // 0: none. Without progress for so long: `stalled`
  Duration grace{std::chrono::seconds(5)};
  int retries = 0;
  double memory_growth = 1;   // of the cap, for a task that died of it
  int max_memory_deaths = 3;  // where it grows
  int max_tasks = 0;          // a worker is recycled after so many; 0: never
  int max_preemptions = 10;
  int concurrency = 1;                  // slots of one worker; exec agents have one
  int max_workers = 0;                  // of this agent; 0: one of an mcp agent, else any number
  std::map<std::string, EnvValue> env;  // added to the allow-list
  std::vector<std::string> env_pass;    // names that pass besides; "*" passes all
  std::string cwd;                      // empty: the supervisor's
  std::string user;                     // empty: the supervisor's own; "auto"; or a name or uid
  std::string home;                     // empty: the user's; "private"; or an absolute path
  TmpConfig tmp;
  SandboxConfig sandbox;
  std::string input{payload_input};  // stdin, of an exec agent's command; else a text with {field}
  AgentOutput output;
  OnChildOom on_child_oom = OnChildOom::fail;
  OnOpen on_open = OnOpen::reject;
  OnLeak on_leak = OnLeak::warn;
  int max_processes = 512;  // pids.max of the worker's group; 0: no limit
  HealthConfig health;
};

/// memory.ladder: the steps before a kill; each may be left out.
struct LadderConfig {
  bool hint = true;
  bool reclaim = true;
  bool end_idle = true;
  bool suspend = true;
  bool preempt = true;
};

struct MemoryConfig {
  std::optional<Bytes> budget = gibibytes(1);  // nullopt: auto
  std::optional<Bytes> machine_reserve;        // nullopt: auto; 0: the machine is not looked at
  Thresholds thresholds;                       // thresholds.{skip_heartbeats,preempt,reject,kill}, hysteresis
  LadderConfig ladder;
  bool predict = true;  // whether tasks may be asked to give way before a threshold is reached
  Duration check_interval{5000};
  MonitoringTier monitoring_tier = MonitoringTier::production;
  Duration leak_interval{0};  // between two looks for leaks; 0: what the tier says
  std::string cgroup_parent = "self";
};

struct WorkersConfig {
  std::optional<int> max = 2;  // nullopt: auto
  Bytes memory_limit = mebibytes(512);
  Bytes memory_warning = mebibytes(300);
  Duration idle_timeout{std::chrono::minutes(5)};
  int max_restarts_per_hour = 10;
};

struct OvertakingConfig {
  bool backfill = false;  // queue.backfill
  int max_passes = 10;    // queue.max_passes
};

struct GatewayConfig {
  std::string listen = "127.0.0.1:7717";  // or none
  Bytes max_body = mebibytes(1);
  int max_connections = 1024;
  int max_connections_per_peer = 512;     // of one address, or of one user on the socket
  std::string token_file;                 // empty: STATE/token
  bool auth = true;                       // auth: token | none (loopback only)
  std::vector<std::string> cors_origins;  // of other sites' pages that may ask too
};

struct IpcConfig {
  Bytes max_line = mebibytes(1);
};

struct StoreConfig {
  Duration retention{std::chrono::hours(24 * 7)};
  int max_finished = 1000;           // finished tasks that are kept, the newest
  Bytes max_held = mebibytes(8);     // payloads and results of finished tasks that are held in memory
  Bytes max_payload = gibibytes(1);  // of one that comes as bytes
  Bytes max_spool = gibibytes(16);   // payloads, results and logs of all tasks that are in files
  Bytes max_result = gibibytes(1);   // of one task
  Bytes max_log = kibibytes(64);     // of one task: the newest bytes are kept
};

struct ExecConfig {
  bool allow = false;                 // `kurultai exec` and `run`: commands that the client names
  std::vector<std::string> env_pass;  // as an agent's; no key: `kurultaid --private` passes all
};

/// Tasks that come again and again: `every` so often, or at the times of `cron`.
struct ScheduleConfig {
  std::string name;  // empty in the file: the agent's
  std::string agent;
  Duration every{0};   // 0: by cron
  std::string cron;    // in the supervisor's time zone; empty: every
  Duration jitter{0};  // each is late by a random part of it
  Overlap overlap = Overlap::skip;
  Priority priority = Priority::normal;
  std::string payload = "null";  // JSON
  Duration timeout{0};           // 0: the agent's
};

enum class PublisherType { webhook };

/// Somebody outside who is told of events.
struct PublisherConfig {
  std::string name;  // empty in the file: the type
  PublisherType type = PublisherType::webhook;
  std::string url;                                    // empty: url_file
  std::string url_file;                               // where the address is a secret
  std::string token_file;                             // empty: no Authorization
  std::vector<std::string> events;                    // their names; empty: all
  Duration timeout{std::chrono::seconds(10)};         // from the first byte asked to the last answered
  Duration connect_timeout{std::chrono::seconds(5)};  // of it
  Bytes buffer = mebibytes(1);                        // events that wait; the oldest make room
  bool operator==(const PublisherConfig&) const = default;
};

struct FeatureFlags {  // FF_… in the environment only, on unless `false`
  bool memory_governance = true;
  bool worker_pool = true;
  bool circuit_breakers = true;
};

struct Config {
  Config() = default;  // no aggregate: g++ 12 warns of a `Config{}` otherwise, without reason
  MemoryConfig memory;
  WorkersConfig workers;
  QueueLimits queue;  // queue.max_depth, queue.limits.{critical…}
  OvertakingConfig overtaking;
  AdmissionRule admission = AdmissionRule::footprint;
  std::map<std::string, AgentConfig> agents;
  std::vector<ScheduleConfig> schedules;    // no two of one name
  std::vector<PublisherConfig> publishers;  // likewise
  BreakerSettings circuit_breakers;         // of agents and of what they call
  GatewayConfig gateway;
  IpcConfig ipc;
  StoreConfig store;
  ExecConfig exec;
  FeatureFlags flags;
};

/// Between two looks for leaks; 0: there are none.
Duration leak_interval_of(const MemoryConfig& memory);

std::string_view to_string(AgentProtocol protocol);
/// Whether kurultai-worker stays between supervisor and program: what it says may be believed.
bool is_hosted(AgentProtocol protocol);

bool has_private_home(const AgentConfig& agent);
/// Whether its workers get a place of their own that is removed after them: a home, or what is temporary.
bool has_place(const AgentConfig& agent);

/// `max_workers`; 0: any number. The server of an mcp agent is shared by its tasks.
int most_workers(const AgentConfig& agent);

/// The limits an agent's workers get when its own are absent.
Bytes memory_limit_of(const AgentConfig& agent, const Config& config);
Bytes memory_warning_of(const AgentConfig& agent, const Config& config);

/// `workers.max`; auto is one for each 16 MiB of `budget`, from 1 to 1000, so that admission decides.
int most_workers(const Config& config, Bytes budget);

}  // namespace kurultai
