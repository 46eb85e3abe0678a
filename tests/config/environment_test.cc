#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "config/settings.h"
#include "tests/config/configs.h"

namespace kurultai::environment_test {
using namespace kurultai::testing;
using namespace std::chrono_literals;

TEST_CASE("variables win over the file") {
  const Config config = config_of("workers: {max: 3}\nmemory: {budget: 2GiB}",
                                  {{"KURULTAI_WORKERS_MAX", "4"},
                                   {"KURULTAI_MEMORY_BUDGET", "auto"},
                                   {"KURULTAI_MEMORY_THRESHOLDS_PREEMPT", "0.8"},
                                   {"KURULTAI_MEMORY_CGROUP_PARENT", "/"},
                                   {"KURULTAI_EXEC_ALLOW", "true"},
                                   {"KURULTAI_CIRCUIT_BREAKERS_BACKOFF", "[2s, 4s]"},
                                   {"KURULTAI_QUEUE_LIMITS_HEARTBEAT", "1"}});
  CHECK(config.workers.max == 4);
  CHECK_FALSE(config.memory.budget.has_value());
  CHECK(config.memory.thresholds.at(Threshold::preempt) == 0.8);
  CHECK(config.memory.cgroup_parent == "/");
  CHECK(config.exec.allow);
  CHECK(config.circuit_breakers.backoff == std::vector<Duration>{2s, 4s});
  CHECK(config.queue.per_level[4] == 1);
}

TEST_CASE("every setting has a variable of its own, and giving it its own value changes nothing") {
  std::set<std::string> names;
  for (const auto& setting : config_settings()) CHECK(names.insert(variable_of(setting.path)).second);
  const Config defaults;
  for (const auto& setting : config_settings()) {
    const auto printed = setting.print(defaults);
    const std::string text = printed.is_string() ? printed.get<std::string>() : printed.dump();
    CAPTURE(setting.path);
    CHECK(config_to_json(config_of("", {{variable_of(setting.path), text}})) == config_to_json(defaults));
  }
}

TEST_CASE("every variable is really read: nonsense in it is an error that names it") {
  for (const auto& setting : config_settings()) {
    if (setting.path == "gateway.token_file") continue;  // any text is a path
    const std::string variable = variable_of(setting.path);
    CAPTURE(variable);
    CHECK(error_of("", {{variable, "{{nonsense"}}).starts_with(variable + ": "));
  }
}

TEST_CASE("agents of the file have variables too, lists and maps written as in the file") {
  const Config config = config_of("agents: {my-agent.1: {command: [x], retries: 1}}",
                                  {{"KURULTAI_AGENTS_MY_AGENT_1_RETRIES", "7"},
                                   {"KURULTAI_AGENTS_MY_AGENT_1_COMMAND", "[python3, 'a b.py']"},
                                   {"KURULTAI_AGENTS_MY_AGENT_1_ENV", "{A: 1}"}});
  const AgentConfig& agent = config.agents.at("my-agent.1");
  CHECK(agent.retries == 7);
  CHECK(agent.command == std::vector<std::string>{"python3", "a b.py"});
  CHECK(agent.env.at("A") == "1");
}

TEST_CASE("a command from a variable is judged by the rules of the file") {
  CHECK(
      error_of("agents: {a: {protocol: exec, command: [x, y]}}", {{"KURULTAI_AGENTS_A_COMMAND", "[x, '{y']"}})
          .starts_with("KURULTAI_AGENTS_A_COMMAND: agents.a.command: '{' without"));
}

TEST_CASE("the short names work, and the long ones win over them") {
  CHECK(config_of("", {{"KURULTAI_MAX_WORKERS", "5"}}).workers.max == 5);
  CHECK(config_of("", {{"KURULTAI_MAX_WORKERS", "5"}, {"KURULTAI_WORKERS_MAX", "6"}}).workers.max == 6);
  CHECK(config_of("", {{"KURULTAI_MONITORING_TIER", "development"}}).memory.monitoring_tier ==
        MonitoringTier::development);
  CHECK(error_of("", {{"KURULTAI_MAX_WORKERS", "0"}}) ==
        "KURULTAI_MAX_WORKERS: 0 is out of range: 1 to 1024");
}

TEST_CASE("an empty variable counts as absent") {
  CHECK(config_of("workers: {max: 3}", {{"KURULTAI_WORKERS_MAX", ""}}).workers.max == 3);
}

TEST_CASE("a list in a variable that is no YAML is one error that names the variable") {
  CHECK(error_of("", {{"KURULTAI_CIRCUIT_BREAKERS_BACKOFF", "[1s, 2s"}})
            .starts_with("KURULTAI_CIRCUIT_BREAKERS_BACKOFF: not YAML"));
}

TEST_CASE("a text that is not UTF-8 is refused") {
  CHECK(error_of("", {{"KURULTAI_GATEWAY_TOKEN_FILE", "\xFF"}}) ==
        "KURULTAI_GATEWAY_TOKEN_FILE: the text is not UTF-8");
}

TEST_CASE("feature flags are on unless they say false") {
  struct Case {
    std::string value;
    bool on;
  };
  CHECK(config_of("").flags.memory_governance);
  for (const Case& c : {Case{"false", false}, Case{"true", true}, Case{"", true}, Case{"0", true}}) {
    CAPTURE(c.value);
    CHECK(config_of("", {{"FF_MEMORY_GOVERNANCE", c.value}}).flags.memory_governance == c.on);
    CHECK(config_of("", {{"FF_WORKER_POOL", c.value}}).flags.worker_pool == c.on);
    CHECK(config_of("", {{"FF_CIRCUIT_BREAKERS", c.value}}).flags.circuit_breakers == c.on);
  }
}

TEST_CASE("the environment of the process is read by name") {
  setenv("KURULTAI_TEST_OF_ENVIRONMENT", "x", 1);
  CHECK(process_environment()("KURULTAI_TEST_OF_ENVIRONMENT") == "x");
  unsetenv("KURULTAI_TEST_OF_ENVIRONMENT");
  CHECK_FALSE(process_environment()("KURULTAI_TEST_OF_ENVIRONMENT").has_value());
}

}  // namespace kurultai::environment_test
