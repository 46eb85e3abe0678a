#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "config/settings.h"
#include "tests/config/configs.h"

namespace kurultai::show_test {
using namespace kurultai::testing;
using nlohmann::json;

namespace {

std::string shipped_path() { return std::string(KURULTAI_SOURCE_DIR) + "/config/memory.yaml"; }

Config shipped() {
  auto config = load_config(shipped_path(), environment_of({}));
  REQUIRE(config.has_value());
  return *std::move(config);
}

const std::string odd_text = R"(
memory: {budget: 1500000001, thresholds: {kill: 0.987654321}}
workers: {memory_limit: 90MiB, idle_timeout: 90s}
gateway: {listen: "[::1]:0", token_file: " a: #b 'c' \"d\" \\ \t\e\x7f ä 😀 "}
agents:
  "null": {command: ["yes", "no", "5", "1e5", "0x1f", "~", "", "- a", "{{}}", "a, b]", "*x", "&y", "!z", "%", "@", "`"]}
  "5": {command: [x], home: private, tmp: {size: 5MiB}, sandbox: {network: true}, env_pass: ["*"], user: "007"}
  "-": {command: [x], home: "/a b", sandbox: bubblewrap, tmp: private, memory_limit: 10485761, protocol: exec, output: json, on_child_oom: warn}
)";

}  // namespace

TEST_CASE("what is shown as YAML loads back to the same configuration") {
  for (const Config& config : {Config{}, config_of(odd_text), shipped(), config_of("memory: {budget: auto}"),
                               config_of("workers: {max: auto}")}) {
    const std::string yaml = config_to_yaml(config);
    CAPTURE(yaml);
    const Config back = config_of(yaml);
    CHECK(config_to_json(back) == config_to_json(config));
    CHECK(config_to_yaml(back) == yaml);
    const ConfigChange change = compare(config, back);
    CHECK(change.live.empty());
    CHECK(change.needs_restart.empty());
  }
}

TEST_CASE("what is shown as JSON loads back too, JSON being YAML") {
  const Config config = config_of(odd_text);
  CHECK(config_to_json(config_of(config_to_json(config))) == config_to_json(config));
}

TEST_CASE("values of env are shown nowhere, and a change of one is seen") {
  const Config config = config_of("agents: {a: {command: [x], env: {KEY: sk-1, OTHER: {file: /run/key}}}}");
  for (const std::string& shown :
       {config_to_json(config), config_to_yaml(config), changed_settings(config.agents.at("a"))}) {
    CAPTURE(shown);
    CHECK(shown.find("sk-1") == std::string::npos);
    CHECK(shown.find("KEY") != std::string::npos);
    CHECK(shown.find("(hidden)") != std::string::npos);
    CHECK(shown.find("/run/key") != std::string::npos);
  }
  const Config other = config_of("agents: {a: {command: [x], env: {KEY: sk-2, OTHER: {file: /run/key}}}}");
  CHECK(compare(config, other).live == std::vector<std::string>{"agents.a"});
}

TEST_CASE("what is shown are the sizes in effect") {
  const json shown =
      json::parse(config_to_json(config_of("agents: {a: {command: [x], memory_limit: 100MiB}}")));
  CHECK(shown["memory"]["budget"] == "1GiB");
  CHECK(shown["memory"]["thresholds"]["kill"] == 0.95);
  CHECK(shown["gateway"]["auth"] == "token");
  CHECK(shown["agents"]["a"]["memory_limit"] == "100MiB");
  CHECK(shown["agents"]["a"]["memory_warning"] == "100MiB");
  CHECK(shown["agents"]["a"]["timeout"] == "1h");
  CHECK(json::parse(config_to_json(config_of(odd_text)))["memory"]["budget"] == 1500000001);
}

TEST_CASE("a program's Config with odd bytes is shown all the same") {
  Config config;
  config.gateway.token_file = "\xFF";
  CHECK_FALSE(config_to_json(config).empty());
  CHECK_FALSE(config_to_yaml(config).empty());
}

TEST_CASE("a reload knows what takes effect at once and what needs a restart") {
  const ConfigChange change = compare(
      config_of("agents: {gone: {command: [x]}, same: {command: [x]}, other: {command: [x]}}"), config_of(R"(
memory: {budget: 2GiB, hysteresis: 0.2, thresholds: {kill: 0.96}, check_interval: 1s, monitoring_tier: disabled, cgroup_parent: /}
workers: {max: 3}
queue: {max_depth: 6, limits: {heartbeat: 1}}
circuit_breakers: {backoff: [1s]}
gateway: {listen: none, token_file: x, auth: none, max_body: 2MiB, max_connections: 9, max_connections_per_peer: 8, cors_origins: [https://a]}
ipc: {max_line: 2MiB}
store: {retention: 1d}
exec: {allow: true}
agents: {new: {command: [x]}, same: {command: [x]}, other: {command: [y]}}
)"));
  CHECK(change.live == std::vector<std::string>{
                           "memory.budget", "memory.thresholds.kill", "memory.hysteresis",
                           "memory.check_interval", "memory.monitoring_tier", "workers.max",
                           "queue.max_depth", "queue.limits.heartbeat", "circuit_breakers.backoff",
                           "gateway.max_body", "gateway.max_connections", "gateway.max_connections_per_peer",
                           "gateway.cors_origins", "store.retention", "exec.allow", "agents.gone",
                           "agents.new", "agents.other"});
  CHECK(change.needs_restart == std::vector<std::string>{"memory.cgroup_parent", "gateway.listen",
                                                         "gateway.token_file", "gateway.auth",
                                                         "ipc.max_line"});
}

TEST_CASE("a new default cap changes the agents that live by it, and no others") {
  const std::string agents = "agents: {a: {command: [x]}, b: {command: [x], memory_limit: 350MiB}}\n";
  const ConfigChange change =
      compare(config_of(agents), config_of(agents + "workers: {memory_limit: 400MiB}"));
  CHECK(change.live == std::vector<std::string>{"workers.memory_limit", "agents.a"});
}

TEST_CASE("the shipped configuration is valid, names every setting and shows the defaults") {
  const Config config = shipped();
  CHECK(config.agents.contains("count"));
  CHECK(config.agents.contains("shell"));
  CHECK(config.agents.contains("heartbeat"));
  Config without_agents = config;
  without_agents.agents.clear();
  CHECK(config_to_json(without_agents) == config_to_json(Config{}));

  std::ostringstream text;
  text << std::ifstream(shipped_path()).rdbuf();
  const auto is_named = [&text](const std::string& path) {
    return text.str().find(path.substr(path.rfind('.') + 1) + ":") != std::string::npos;
  };
  for (const auto& setting : config_settings()) CHECK_MESSAGE(is_named(setting.path), setting.path);
  for (const auto& setting : agent_settings()) CHECK_MESSAGE(is_named(setting.path), setting.path);
}

TEST_CASE("of one agent are shown the settings that are not as usual, and no values of variables") {
  const Config config = config_of(
      "agents: {a: {command: [x], protocol: exec, retries: 2, grace: 5s, memory_limit: 100MiB, env: {KEY: "
      "secret}}, b: {command: [x]}}");
  CHECK(json::parse(changed_settings(config.agents.at("a"))) ==
        json({{"env", {{"KEY", "(hidden)"}}}, {"memory_limit", "100MiB"}, {"retries", 2}}));
  CHECK(changed_settings(config.agents.at("b")) == "{}");
}

}  // namespace kurultai::show_test
