#include "config/load.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/config/configs.h"

namespace kurultai::load_test {
using namespace kurultai::testing;
using namespace std::chrono_literals;

namespace {

/// A directory that is gone with the test.
struct TemporaryDirectory {
  std::filesystem::path path;
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "kurultai-config-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string write(const std::string& name, std::string_view text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
    return (path / name).string();
  }
};

std::string load_error(const std::string& path) {
  const auto config = load_config(path, environment_of({}));
  REQUIRE_FALSE(config.has_value());
  REQUIRE(config.error().size() == 1);
  return to_string(config.error()[0]);
}

}  // namespace

TEST_CASE("an empty file is a configuration of defaults") {
  for (const std::string_view text : {"", "# nothing\n", "---\n", "memory:\nworkers:\nagents:\n", "{}"}) {
    CAPTURE(text);
    CHECK(config_to_json(config_of(text)) == config_to_json(Config{}));
  }
}

TEST_CASE("every section reaches its fields") {
  const Config config = config_of(R"(
memory:
  budget: 2GiB
  machine_reserve: 100MiB
  thresholds: {skip_heartbeats: 0.5, preempt: 0.6, reject: 0.7, kill: 1}
  hysteresis: 0
  check_interval: 250ms
  monitoring_tier: disabled
  cgroup_parent: /a/b
workers: {max: 7, memory_limit: 64MiB, memory_warning: 1048576, idle_timeout: 0, max_restarts_per_hour: 0}
queue: {max_depth: 20, limits: {critical: 1, high: 2, normal: 3, low: 4, heartbeat: 0}, backfill: true, max_passes: 3}
admission: cap
circuit_breakers: {failures: 5, window: 2m, successes: 1, backoff: [100ms, 1s]}
gateway: {listen: none, max_body: 2MiB, token_file: /t, auth: none, max_connections: 9, max_connections_per_peer: 8, cors_origins: ["https://a.example", "http://localhost:3000"]}
ipc: {max_line: 64KiB}
store: {retention: 1h, max_finished: 5, max_result: 1MiB, max_log: 0}
exec: {allow: true}
)");
  CHECK(config.memory.budget == gibibytes(2));
  CHECK(config.memory.machine_reserve == mebibytes(100));
  CHECK(config.memory.thresholds.ratio == std::array{0.5, 0.6, 0.7, 1.0});
  CHECK(config.memory.thresholds.hysteresis == 0);
  CHECK(config.memory.check_interval == 250ms);
  CHECK(config.memory.monitoring_tier == MonitoringTier::disabled);
  CHECK(config.memory.cgroup_parent == "/a/b");
  CHECK(config.workers.max == 7);
  CHECK(config.workers.memory_limit == mebibytes(64));
  CHECK(config.workers.memory_warning == mebibytes(1));
  CHECK(config.workers.idle_timeout == 0ms);
  CHECK(config.workers.max_restarts_per_hour == 0);
  CHECK(config.queue.max_depth == 20);
  CHECK(config.overtaking.backfill);
  CHECK(config.overtaking.max_passes == 3);
  CHECK(config.admission == AdmissionRule::cap);
  CHECK(config.queue.per_level == std::array<std::size_t, 5>{1, 2, 3, 4, 0});
  CHECK(config.circuit_breakers.failures == 5);
  CHECK(config.circuit_breakers.window == 2min);
  CHECK(config.circuit_breakers.successes == 1);
  CHECK(config.circuit_breakers.backoff == std::vector<Duration>{100ms, 1s});
  CHECK(config.gateway.listen == "none");
  CHECK(config.gateway.max_body == mebibytes(2));
  CHECK(config.gateway.token_file == "/t");
  CHECK(config.gateway.max_connections == 9);
  CHECK(config.gateway.max_connections_per_peer == 8);
  CHECK_FALSE(config.gateway.auth);
  CHECK(config.gateway.cors_origins ==
        std::vector<std::string>{"https://a.example", "http://localhost:3000"});
  CHECK(config.ipc.max_line == kibibytes(64));
  CHECK(config.store.retention == 1h);
  CHECK(config.store.max_finished == 5);
  CHECK(config.store.max_result == mebibytes(1));
  CHECK(config.store.max_log == Bytes{0});
  CHECK(config.exec.allow);
}

TEST_CASE("every setting of an agent reaches its field") {
  const Config config = config_of(R"(
agents:
  a.b-c_1:
    protocol: exec
    command: [sh, -c, "{script}", 5, 1.50, true]
    memory_limit: 100MiB
    memory_warning: 50MiB
    preemptable: false
    protect: true
    idempotent: false
    timeout: 1m
    start_timeout: 2s
    stall_timeout: 3s
    grace: 0
    retries: 4
    max_tasks: 6
    max_preemptions: 0
    concurrency: 1
    env: {A: x, B_1: 5, C: 1.50, D: true, E: "", F: "no: yes"}
    env_pass: [PATH, "*"]
    cwd: /tmp
    user: 1000
    output: json
    on_child_oom: warn
    on_open: hold
    on_leak: recycle
    memory_growth: 1.5
    max_memory_deaths: 5
    max_processes: 0
)");
  REQUIRE(config.agents.size() == 1);
  const AgentConfig& agent = config.agents.at("a.b-c_1");
  CHECK(agent.name == "a.b-c_1");
  CHECK(agent.protocol == AgentProtocol::exec);
  CHECK(agent.command == std::vector<std::string>{"sh", "-c", "{script}", "5", "1.50", "true"});
  CHECK(agent.memory_limit == mebibytes(100));
  CHECK(agent.memory_warning == mebibytes(50));
  CHECK_FALSE(agent.preemptable);
  CHECK(agent.protect);
  CHECK_FALSE(agent.idempotent);
  CHECK(agent.timeout == 1min);
  CHECK(agent.start_timeout == 2s);
  CHECK(agent.stall_timeout == 3s);
  CHECK(agent.grace == 0s);
  CHECK(agent.retries == 4);
  CHECK(agent.max_tasks == 6);
  CHECK(agent.max_preemptions == 0);
  CHECK(agent.concurrency == 1);
  CHECK(agent.env ==
        std::map<std::string, EnvValue>{
            {"A", "x"}, {"B_1", "5"}, {"C", "1.50"}, {"D", "true"}, {"E", ""}, {"F", "no: yes"}});
  CHECK(agent.env_pass == std::vector<std::string>{"PATH", "*"});
  CHECK(agent.cwd == "/tmp");
  CHECK(agent.user == "1000");
  CHECK(agent.output.kind == OutputKind::json);
  CHECK(agent.on_child_oom == OnChildOom::warn);
  CHECK(agent.on_open == OnOpen::hold);
  CHECK(agent.on_leak == OnLeak::recycle);
  CHECK(agent.memory_growth == 1.5);
  CHECK(agent.max_memory_deaths == 5);
  CHECK(agent.max_processes == 0);
}

TEST_CASE("the budget may be left to the machine") {
  CHECK_FALSE(config_of("memory: {budget: auto}").memory.budget.has_value());
  CHECK_FALSE(config_of("").memory.machine_reserve.has_value());
  CHECK_FALSE(config_of("memory: {machine_reserve: auto}").memory.machine_reserve.has_value());
  CHECK(config_of("memory: {machine_reserve: 0}").memory.machine_reserve == Bytes{0});
}

TEST_CASE("agents may share settings by an alias") {
  const Config config = config_of("agents:\n  a: &a {command: [\"true\"], retries: 3}\n  b: *a\n");
  CHECK(config.agents.at("b").retries == 3);
  CHECK(config.agents.at("b").name == "b");
}

TEST_CASE("an unknown key is refused with the nearest right name") {
  CHECK(error_of("memroy:\n  budget: 1GiB\n") == "f:1:1: unknown key 'memroy', did you mean 'memory'?");
  CHECK(error_of("workers:\n  max: 2\n  memroy_limit: 1GiB\n") ==
        "f:3:3: unknown key 'memroy_limit', did you mean 'memory_limit'?");
  CHECK(error_of("memory: {thresholds: {kil: 0.9}}") == "f:1:23: unknown key 'kil', did you mean 'kill'?");
  CHECK(error_of("agent: {}") == "f:1:1: unknown key 'agent', did you mean 'agents'?");
  CHECK(error_of(agent_text("    command: [x]\n    comand: [y]\n")) ==
        "f:4:5: unknown key 'comand', did you mean 'command'?");
}

TEST_CASE("an unknown key that is near to nothing is refused with the names there are") {
  CHECK(error_of("ipc: {zzz: 1}") == "f:1:7: unknown key 'zzz'; known here: max_line");
  CHECK(
      error_of("zzzz: 1").ends_with("known here: memory, workers, queue, admission, circuit_breakers, "
                                    "gateway, ipc, store, exec, agents, schedules, publishers"));
  CHECK(error_of("memory.budget: 1GiB").starts_with("f:1:1: unknown key 'memory.budget'"));
  CHECK(error_of("memory: {agents: {}}").starts_with("f:1:10: unknown key 'agents'"));
  CHECK(error_of("memory: {thresholds.kill: 0.9}").starts_with("f:1:10: unknown key 'thresholds.kill'"));
}

TEST_CASE("the working place of an agent, in short and in full") {
  const auto agent = [](const std::string& lines) {
    return config_of("agents: {a: {command: [x], " + lines + "}}").agents.at("a");
  };
  CHECK(agent("env: {A: x, B: {file: /run/b}}").env ==
        std::map<std::string, EnvValue>{{"A", "x"}, {"B", EnvValue::from_file("/run/b")}});
  CHECK(has_private_home(agent("home: private")));
  CHECK_FALSE(has_private_home(agent("home: /home/a")));
  CHECK(agent("home: /home/a").home == "/home/a");
  CHECK(agent("tmp: private").tmp.is_private);
  CHECK(agent("tmp: private").tmp.size == mebibytes(64));
  CHECK_FALSE(agent("tmp: \"\"").tmp.is_private);
  CHECK(agent("tmp: {size: 1GiB}").tmp.is_private);
  CHECK(agent("tmp: {private: true, size: 1GiB}").tmp.size == gibibytes(1));
  CHECK_FALSE(agent("tmp: {private: false, size: 1GiB}").tmp.is_private);
  CHECK(agent("sandbox: none").sandbox.kind == SandboxKind::none);
  CHECK(agent("sandbox: bubblewrap").sandbox.kind == SandboxKind::bubblewrap);
  CHECK_FALSE(agent("sandbox: bubblewrap").sandbox.network);
  CHECK(agent("sandbox: {kind: bubblewrap, network: true}").sandbox.network);
  CHECK(agent("sandbox: {network: true}").sandbox.kind == SandboxKind::bubblewrap);
  CHECK(has_place(agent("tmp: private")));
  CHECK_FALSE(has_place(agent("home: /home/a, sandbox: bubblewrap")));
}

TEST_CASE("settings of later versions are unknown keys, not silence") {
  CHECK(error_of("alerts: []").starts_with("f:1:1: unknown key 'alerts'"));
}

TEST_CASE("wrong values are refused where they stand, with what is expected") {
  struct Case {
    std::string_view text, error;
  };
  const std::vector<Case> cases = {
      {"memory:\n  budget: much", "f:2:11: memory.budget: "},
      {"memory: {machine_reserve: some}", "f:1:27: memory.machine_reserve: "},
      {"memory: {budget: -1GiB}", "f:1:18: memory.budget: "},
      {"memory: {budget: [1GiB]}", "f:1:18: memory.budget: expected a size such as 512MiB, found a list"},
      {"memory: {budget: {a: 1}}", "f:1:18: memory.budget: expected a size such as 512MiB, found a map"},
      {"memory: {budget: }", "f:1:10: memory.budget: expected a size such as 512MiB, found nothing"},
      {"memory: {budget: 1MiB}", "f:1:18: memory.budget: 1MiB is out of range: 16MiB to 1PiB"},
      {"memory: {budget: 2PiB}", "f:1:18: memory.budget: 2PiB is out of range"},
      {"memory: {hysteresis: 1}", "f:1:22: memory.hysteresis: 1 is out of range: at least 0 and below 1"},
      {"memory: {hysteresis: -0.1}", "f:1:22: memory.hysteresis: -0.1 is out of range"},
      {"memory: {thresholds: {kill: 1.01}}",
       "f:1:29: memory.thresholds.kill: 1.01 is out of range: above 0 and"},
      {"memory: {thresholds: {kill: 95%}}",
       "f:1:29: memory.thresholds.kill: expected a number such as 0.85, found"},
      {"memory: {thresholds: {kill: nan}}", "f:1:29: memory.thresholds.kill: nan is out of range"},
      {"memory: {thresholds: {kill: 1e999}}", "f:1:29: memory.thresholds.kill: '1e999' is out of range"},
      {"memory: {thresholds: {kill: '0.95'}}",
       "f:1:29: memory.thresholds.kill: expected a number such as 0.85, found "
       "'0.95' in quotes"},
      {"memory: {check_interval: 5}", "f:1:26: memory.check_interval: "},
      {"memory: {check_interval: 1ms}", "f:1:26: memory.check_interval: 1ms is out of range: 10ms to 1h"},
      {"memory: {check_interval: 2h}", "f:1:26: memory.check_interval: 2h is out of range"},
      {"memory: {check_interval: [5s]}", "f:1:26: memory.check_interval: expected a duration such as"},
      {"memory: {monitoring_tier: Production}",
       "f:1:27: memory.monitoring_tier: expected production, development or "
       "disabled, found 'Production'"},
      {"memory: {monitoring_tier: []}",
       "f:1:27: memory.monitoring_tier: expected production, development or"},
      {"memory: {cgroup_parent: here}", "f:1:25: memory.cgroup_parent: 'here' is neither self nor a path"},
      {"memory: {cgroup_parent: ''}", "f:1:25: memory.cgroup_parent: '' is neither"},
      {"memory: {cgroup_parent: /a/../b}", "f:1:25: memory.cgroup_parent: '/a/../b' must not hold .."},
      {"memory: {cgroup_parent: /..}", "f:1:25: memory.cgroup_parent: '/..' must not hold .."},
      {"memory: {cgroup_parent: [a]}", "f:1:25: memory.cgroup_parent: expected self or a path, found a list"},
      {"workers: {max: 0}", "f:1:16: workers.max: 0 is out of range: 1 to 1024"},
      {"workers: {max: -1}", "f:1:16: workers.max: -1 is out of range"},
      {"workers: {max: 1025}", "f:1:16: workers.max: 1025 is out of range"},
      {"workers: {max: 2.5}", "f:1:16: workers.max: expected a whole number, found '2.5'"},
      {"workers: {max: 0x10}", "f:1:16: workers.max: expected a whole number, found '0x10'"},
      {"workers: {max: \"2\"}", "f:1:16: workers.max: expected a whole number, found '2' in quotes"},
      {"workers: {max: ''}", "f:1:16: workers.max: expected a whole number"},
      {"workers: {max: 99999999999999999999}", "f:1:16: workers.max: '99999999999999999999' is out of range"},
      {"workers: {max: Auto}", "f:1:16: workers.max: expected a whole number, found 'Auto'"},
      {"queue: {max_passes: -1}", "f:1:21: queue.max_passes: -1 is out of range"},
      {"queue: {backfill: sometimes}", "f:1:19: queue.backfill: "},
      {"admission: footprints", "f:1:12: admission: expected footprint, cap or none, found 'footprints'"},
      {"workers: {memory_limit: 1KiB}", "f:1:25: workers.memory_limit: 1KiB is out of range: 1MiB"},
      {"workers: {idle_timeout: -5s}", "f:1:25: workers.idle_timeout: "},
      {"queue: {max_depth: 0}", "f:1:20: queue.max_depth: 0 is out of range"},
      {"queue: {limits: {low: -1}}", "f:1:23: queue.limits.low: -1 is out of range"},
      {"queue: {limits: 5}", "f:1:17: queue.limits: expected settings as `key: value`"},
      {"circuit_breakers: {failures: 0}", "f:1:30: circuit_breakers.failures: 0 is out of range"},
      {"circuit_breakers: {window: 0}", "f:1:28: circuit_breakers.window: 0 is out of range"},
      {"circuit_breakers: {backoff: []}",
       "f:1:29: circuit_breakers.backoff: expected a list of 1 to 32 durations"},
      {"circuit_breakers: {backoff: 1s}",
       "f:1:29: circuit_breakers.backoff: expected a list of 1 to 32 durations"},
      {"circuit_breakers: {backoff: [1s, x]}", "f:1:34: circuit_breakers.backoff: "},
      {"gateway: {listen: 7717}", "f:1:19: gateway.listen: '7717' is not HOST:PORT or none"},
      {"gateway: {auth: false}", "f:1:17: gateway.auth: expected token or none, found 'false'"},
      {"gateway: {max_body: 5GiB}", "f:1:21: gateway.max_body: 5GiB is out of range: 1KiB to 1GiB"},
      {"gateway: {token_file: \"a\\0b\"}", "f:1:23: gateway.token_file: a NUL byte"},
      {"gateway: {cors_origins: https://a}", "f:1:25: gateway.cors_origins: expected a list, found one word"},
      {"gateway: {cors_origins: [\"*\"]}",
       "f:1:26: gateway.cors_origins: '*' is no origin: it begins with http:// or https://, and * is none"},
      {"gateway: {cors_origins: [null]}", "f:1:26: gateway.cors_origins: "},
      {"gateway: {cors_origins: [\"null\"]}", "f:1:26: gateway.cors_origins: 'null' is no origin"},
      {"gateway: {cors_origins: [a.example]}", "f:1:26: gateway.cors_origins: 'a.example' is no origin"},
      {"gateway: {cors_origins: [https://]}", "f:1:26: gateway.cors_origins: 'https://' is no origin"},
      {"gateway: {cors_origins: [https://a/]}", "f:1:26: gateway.cors_origins: 'https://a/' is no origin"},
      {"gateway: {cors_origins: [https://A]}", "f:1:26: gateway.cors_origins: 'https://A' is no origin"},
      {"gateway: {cors_origins: [\"https://*.a\"]}",
       "f:1:26: gateway.cors_origins: 'https://*.a' is no origin"},
      {"gateway: {cors_origins: [https://u@a]}", "f:1:26: gateway.cors_origins: 'https://u@a' is no origin"},
      {"gateway: {cors_origins: [https://a:443]}",
       "f:1:26: gateway.cors_origins: 'https://a:443': browsers leave the usual port out"},
      {"gateway: {cors_origins: [\"https://a:\"]}",
       "f:1:26: gateway.cors_origins: 'https://a:' has no port behind its colon"},
      {"gateway: {cors_origins: [http://a:b]}", "f:1:26: gateway.cors_origins: 'http://a:b' has no port"},
      {"ipc: {max_line: 0}", "f:1:17: ipc.max_line: 0 is out of range"},
      {"store: {retention: 0}", "f:1:20: store.retention: 0 is out of range"},
      {"store: {retention: 11000d}", "f:1:20: store.retention: "},
      {"store: {max_finished: 0}", "f:1:23: store.max_finished: 0 is out of range"},
      {"exec: {allow: yes}", "f:1:15: exec.allow: expected true or false, found 'yes'"},
      {"exec: {allow: True}", "f:1:15: exec.allow: expected true or false, found 'True'"},
      {"exec: {allow: 'true'}", "f:1:15: exec.allow: expected true or false, found 'true' in quotes"},
      {"exec: {allow: {}}", "f:1:15: exec.allow: expected true or false, found a map"},
      {"memory: 5", "f:1:9: memory: expected settings as `key: value`"},
      {"memory: [a]", "f:1:9: memory: expected settings as `key: value`"},
      {"- a", "f:1:1: expected settings as `key: value`"},
      {"just text", "f:1:1: expected settings as `key: value`"},
      {"agents: [a]", "f:1:9: agents: expected agents as `name: {settings}`"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    const std::string error = error_of(c.text);
    CAPTURE(error);
    CHECK(error.starts_with(c.error));
  }
}

TEST_CASE("wrong settings of an agent are refused with its name") {
  struct Case {
    std::string settings, error;
  };
  const std::string good = "    command: [x]\n";
  const std::vector<Case> cases = {
      {"    command: sleep 5\n",
       "f:3:14: agents.a.command: expected a list, found one word; write one item a line, or"},
      {"    command: []\n",
       "f:3:14: agents.a.command: expected a list such as [python3, agent.py], found an empty one"},
      {"    command: {a: b}\n", "f:3:14: agents.a.command: expected a list such as"},
      {"    command:\n",
       "f:3:5: agents.a.command: expected a list such as [python3, agent.py], found nothing"},
      {"    command: [x, [y]]\n", "f:3:18: agents.a.command: expected a word, found a list"},
      {"    command: [x, ~]\n", "f:3:18: agents.a.command: expected a word, found nothing"},
      {"    command: [\"\"]\n", "f:3:15: agents.a.command: the program's name is empty"},
      {"    retries: 1\n", "f:2:3: agents.a: command is missing"},
      {good + "    protocol: http\n", "f:4:15: agents.a.protocol: expected jsonl, exec or mcp, found 'http'"},
      {good + "    memory_limit: auto\n", "f:4:19: agents.a.memory_limit: "},
      {good + "    memory_limit: 1\n", "f:4:19: agents.a.memory_limit: 1 is out of range"},
      {good + "    concurrency: 0\n", "f:4:18: agents.a.concurrency: 0 is out of range"},
      {good + "    retries: -1\n", "f:4:14: agents.a.retries: -1 is out of range"},
      {good + "    timeout: 0\n", "f:4:14: agents.a.timeout: 0 is out of range"},
      {good + "    env: [A]\n",
       "f:4:10: agents.a.env: expected a map of variables such as {LANG: C}, found a list"},
      {good + "    env: {1A: x}\n", "f:4:11: agents.a.env: '1A' is no name of an environment variable"},
      {good + "    env: {\"A=B\": x}\n", "f:4:11: agents.a.env: 'A=B' is no name"},
      {good + "    env: {\"\": x}\n", "f:4:11: agents.a.env: '' is no name"},
      {good + "    env: {A: [x]}\n", "f:4:14: agents.a.env: expected a value, \"\" for none, found a list"},
      {good + "    env: {A: }\n", "f:4:11: agents.a.env: expected a value, \"\" for none, found nothing"},
      {good + "    env: {A: {file: }}\n", "f:4:15: agents.a.env: expected a path, found nothing"},
      {good + "    env: {A: {file: key}}\n",
       "f:4:15: agents.a.env: file: expected a path that starts with /"},
      {good + "    env: {A: {file: /k, x: y}}\n", "f:4:14: agents.a.env: expected a value, or {file: PATH}"},
      {good + "    env: {A: {}}\n", "f:4:14: agents.a.env: expected a value, or {file: PATH}"},
      {good + "    home: here\n",
       "f:4:11: agents.a.home: 'here' is neither private nor a path that starts with /"},
      {good + "    tmp: mine\n", "f:4:10: agents.a.tmp: expected private or , found 'mine'"},
      {good + "    tmp: [private]\n", "f:4:10: agents.a.tmp: expected private"},
      {good + "    tmp: {size: 1}\n", "f:4:17: agents.a.tmp: 1 is out of range: 64KiB to"},
      {good + "    tmp: {private: 1}\n", "f:4:20: agents.a.tmp: expected true or false"},
      {good + "    tmp: {sise: 1MiB}\n",
       "f:4:11: agents.a.tmp: unknown key 'sise'; known here: private, size"},
      {good + "    sandbox: docker\n",
       "f:4:14: agents.a.sandbox: expected none or bubblewrap, found 'docker'"},
      {good + "    sandbox: {net: true}\n",
       "f:4:15: agents.a.sandbox: unknown key 'net'; known here: kind, network"},
      {good + "    sandbox: {network: maybe}\n", "f:4:24: agents.a.sandbox: expected true or false"},
      {good + "    env_pass: [\"A*\"]\n", "f:4:16: agents.a.env_pass: 'A*' is no name"},
      {good + "    env_pass: PATH\n", "f:4:15: agents.a.env_pass: expected a list, found one word"},
      {good + "    user: a b\n", "f:4:11: agents.a.user: 'a b' is no user's name or number, nor auto"},
      {good + "    user: -x\n", "f:4:11: agents.a.user: '-x' is no user's name"},
      {good + "    output: xml\n",
       "f:4:13: agents.a.output: expected text, json, jsonl or none, found 'xml'"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.settings);
    const std::string error = error_of(agent_text(c.settings));
    CAPTURE(error);
    CHECK(error.starts_with(c.error));
  }
}

TEST_CASE("names of agents are short words, and exec is taken") {
  CHECK(config_of("agents: {" + std::string(64, 'x') + ": {command: [x]}}").agents.size() == 1);
  CHECK(error_of("agents: {exec: {command: [x]}}") ==
        "f:1:10: agents: the name exec is reserved for commands that clients name");
  for (const std::string& name :
       std::vector<std::string>{"a b", "a/b", "ä", "''", ".", "..", std::string(65, 'x')}) {
    CAPTURE(name);
    CHECK(error_of("agents:\n  " + name + ": {command: [x]}").find("is no name for an agent") !=
          std::string::npos);
  }
}

TEST_CASE("an agent must be a map of settings") {
  CHECK(error_of("agents: {a: [python3]}") == "f:1:13: agents.a: expected settings as `key: value`");
  CHECK(error_of("agents: {a: }") == "f:1:10: agents.a: command is missing");
}

TEST_CASE("all mistakes are told at once, in the order of the text") {
  const auto errors =
      errors_of("workers:\n  max: x\n  foo: 1\nmemory: {budget: y, budget: z}\nagents:\n  a b: {zip: 1}\n",
                {{"KURULTAI_QUEUE_MAX_DEPTH", "none"}});
  CAPTURE(joined(errors));
  REQUIRE(errors.size() == 7);
  CHECK(errors[0].starts_with("f:2:8: workers.max"));
  CHECK(errors[1].starts_with("f:3:3: unknown key 'foo'"));
  CHECK(errors[2].starts_with("f:4:18: memory.budget"));
  CHECK(errors[3].starts_with("f:4:21: the key 'budget' is given twice"));
  CHECK(errors[4].starts_with("f:6:3: agents: 'a b' is no name"));
  CHECK(errors[5].starts_with("f:6:9: unknown key 'zip'"));
  CHECK(errors[6].starts_with("KURULTAI_QUEUE_MAX_DEPTH: "));
}

TEST_CASE("a mistake behind an alias is told once") {
  CHECK(error_of("agents:\n  a: &a {command: [x], nope_nope: 1}\n  b: *a\n")
            .starts_with("f:2:24: unknown key"));
}

TEST_CASE("thousands of mistakes are cut to a hundred and their number") {
  std::string text;
  for (int i = 0; i < 5000; ++i) text.append("k").append(std::to_string(i)).append(": 1\n");
  const auto errors = errors_of(text);
  REQUIRE(errors.size() == 101);
  CHECK(errors.back() == "f: and 4900 more errors");
}

TEST_CASE("a text that is no YAML is one error with its position") {
  CHECK(error_of("memory:\n  budget: 1GiB\n bad").starts_with("f:3:"));
  CHECK(error_of("a: \x01").starts_with("f:1:4: a control character"));
  CHECK(error_of(std::string(100'000, '[')).find(": nested deeper") != std::string::npos);
}

TEST_CASE("a text larger than 4 MiB is refused") {
  CHECK(error_of(std::string(max_config_bytes + 1, '#')) == "f: larger than 4MiB, which no configuration is");
  CHECK(errors_of("#" + std::string(max_config_bytes - 1, 'x')).empty());
}

TEST_CASE("files are read, and those that cannot be are told by name and cause") {
  const TemporaryDirectory directory;
  const std::string good = directory.write("good.yaml", "workers: {max: 9}");
  const auto config = load_config(good, environment_of({}));
  REQUIRE(config.has_value());
  CHECK(config->workers.max == 9);

  const std::string bad = directory.write("bad.yaml", "workers: {max: x}");
  CHECK(load_error(bad).starts_with(bad + ":1:16: workers.max"));
  const std::string missing = (directory.path / "missing").string();
  CHECK(load_error(missing) == missing + ": cannot be opened: No such file or directory");
  CHECK(load_error(directory.path.string()) == directory.path.string() + ": a directory, not a file");
  const std::string huge = directory.write("huge.yaml", std::string(10 << 20, ' '));
  CHECK(load_error(huge) == huge + ": larger than 4MiB, which no configuration is");
  CHECK(load_config("/dev/null", environment_of({})).has_value());
}

TEST_CASE("a file without read permission is told so" * doctest::skip(geteuid() == 0)) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("secret.yaml", "");
  REQUIRE(chmod(path.c_str(), 0) == 0);
  CHECK(load_error(path) == path + ": cannot be opened: Permission denied");
}

TEST_CASE("a file that fails while it is read is told so") {
  CHECK(load_error("/proc/self/mem").starts_with("/proc/self/mem: cannot be read: "));
}

TEST_CASE("the configuration is looked for here, at home, then in /etc") {
  const TemporaryDirectory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path);
  const std::string base = directory.path.string();
  const auto find = [&](Variables variables) {
    return find_config(environment_of(std::move(variables))).value_or("-");
  };
  const std::string fallback =
      access("/etc/kurultai/memory.yaml", F_OK) == 0 ? "/etc/kurultai/memory.yaml" : "-";

  CHECK(find({}) == fallback);
  CHECK(find({{"HOME", base}}) == fallback);
  const std::string at_home = directory.write(".config/kurultai/memory.yaml", "");
  CHECK(find({{"HOME", base}}) == at_home);
  const std::string elsewhere = directory.write("xdg/kurultai/memory.yaml", "");
  CHECK(find({{"HOME", base}, {"XDG_CONFIG_HOME", base + "/xdg"}}) == elsewhere);
  CHECK(find({{"HOME", base}, {"XDG_CONFIG_HOME", base + "/nowhere"}}) == fallback);
  directory.write("config/memory.yaml", "");
  CHECK(find({{"HOME", base}, {"XDG_CONFIG_HOME", base + "/xdg"}}) == "config/memory.yaml");
  std::filesystem::current_path(before);
}

TEST_CASE("workers.max: auto is bounded by the budget") {
  const Config config = config_of("workers: {max: auto}");
  CHECK_FALSE(config.workers.max.has_value());
  CHECK(most_workers(config, mebibytes(160)) == 10);
  CHECK(most_workers(config, mebibytes(1)) == 1);
  CHECK(most_workers(config, gibibytes(1000)) == 1000);
  CHECK(most_workers(config_of("workers: {max: 3}"), gibibytes(1000)) == 3);
}

}  // namespace kurultai::load_test
