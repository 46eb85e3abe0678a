#include <nlohmann/json.hpp>

#include "tests/config/configs.h"

namespace kurultai::health_test {
using namespace kurultai::testing;
using namespace std::chrono_literals;

namespace {

std::string with_health(const std::string& health) {
  return "agents: {a: {command: [x], health: " + health + "}}";
}

HealthConfig health_of(const std::string& health) {
  return config_of(with_health(health)).agents.at("a").health;
}

/// Without its place and the path.
std::string complaint(const std::string& health) {
  const std::string error = error_of(with_health(health));
  const std::string path = "agents.a.health: ";
  const auto at = error.find(path);
  REQUIRE(at != std::string::npos);
  return error.substr(at + path.size());
}

}  // namespace

TEST_CASE("health is a word or a mapping") {
  CHECK(config_of("agents: {a: {command: [x]}}").agents.at("a").health == HealthConfig());
  CHECK(health_of("passive") == HealthConfig());
  const HealthConfig ping = health_of("ping");
  CHECK(ping.rule == HealthRule{HealthStrategy::ping, 30s, 5s, 3});
  CHECK(health_of("{strategy: ping}") == ping);
  const HealthConfig whole =
      health_of("{strategy: command, command: [check.sh, 5], interval: 1m, timeout: 250ms, failures: 2}");
  CHECK(whole.rule == HealthRule{HealthStrategy::command, 1min, 250ms, 2});
  CHECK(whole.command == std::vector<std::string>{"check.sh", "5"});
  CHECK(health_of("{strategy: ping, interval: 2s}").rule.timeout == 2s);  // the default gives way
  CHECK(health_of("{strategy: ping, interval: 2s, timeout: 2s}").rule.timeout == 2s);
}

TEST_CASE("health that makes no sense is refused in one clear line") {
  CHECK(complaint("{strategy: ping, interval: 0}") == "interval: 0 is out of range: 10ms to 1d");
  CHECK(complaint("{strategy: ping, timeout: 0}") == "timeout: 0 is out of range: 1ms to 1d");
  CHECK(complaint("{strategy: ping, interval: 2s, timeout: 3s}") ==
        "timeout: 3s is longer than interval, 2s");
  CHECK(complaint("{strategy: ping, timeout: 31s}") == "timeout: 31s is longer than interval, 30s");
  CHECK(complaint("{strategy: ping, failures: 0}") == "failures: 0 is out of range: 1 to 100");
  CHECK(complaint("{interval: 5s}") == "strategy is missing: passive, ping or command");
  CHECK(complaint("{}") == "strategy is missing: passive, ping or command");
  CHECK(complaint("command").starts_with("command needs the program to run"));
  CHECK(complaint("{strategy: command}").starts_with("command needs the program to run"));
  CHECK(complaint("{strategy: command, command: []}").starts_with("command: expected a list"));
  CHECK(complaint("{strategy: command, command: [\"\"]}") == "command: the program's name is empty");
  CHECK(complaint("{strategy: command, command: check.sh}").starts_with("command: expected a list"));
  CHECK(complaint("{strategy: ping, command: [x]}") == "command: only the strategy command runs one");
  CHECK(complaint("{strategy: ping, intervall: 5s}") == "unknown key 'intervall', did you mean 'interval'?");
  CHECK(complaint("pings") == "expected passive, ping or command, found 'pings'");
  CHECK(complaint("[ping]").starts_with("expected passive, ping, or a mapping"));
  CHECK(errors_of(with_health("{strategy: pong, interval: 0, failures: x}")).size() == 3);
  CHECK(error_of("agents:\n  a:\n    command: [x]\n    health: {strategy: ping,\n      timeout: 1h}\n")
            .starts_with("f:5:16: agents.a.health: timeout: 1h is longer"));
}

TEST_CASE("an exec agent has nothing to check between its tasks") {
  CHECK(error_of("agents: {a: {protocol: exec, command: [x], health: ping}}") ==
        "f:1:52: agents.a.health: an exec agent runs no process between its tasks; leave it out or write "
        "passive");
  CHECK(errors_of("agents: {a: {protocol: exec, command: [x], health: passive}}").empty());
  CHECK(errors_of("agents: {a: {protocol: mcp, command: [x], health: ping}}").empty());
}

TEST_CASE("health is shown as it was meant and loads back") {
  for (const char* text :
       {"ping", "passive", "{strategy: ping, interval: 2s}", "{strategy: passive, interval: 1m}",
        "{strategy: command, command: [a, \"b c\", \"5\"], interval: 40ms, timeout: 40ms, failures: 100}"}) {
    const Config config = config_of(with_health(text));
    CHECK(config_of(config_to_yaml(config)).agents.at("a").health == config.agents.at("a").health);
    CHECK(config_of(config_to_json(config)).agents.at("a").health == config.agents.at("a").health);
  }
  const auto shown = nlohmann::json::parse(config_to_json(config_of(with_health("ping"))));
  CHECK(shown["agents"]["a"]["health"] ==
        nlohmann::json{{"strategy", "ping"}, {"interval", "30s"}, {"timeout", "5s"}, {"failures", 3}});
}

TEST_CASE("a change of health is told, and needs no new workers") {
  const Config before = config_of(with_health("passive")), after = config_of(with_health("ping"));
  CHECK(compare(before, after).live == std::vector<std::string>{"agents.a"});
  CHECK_FALSE(needs_new_workers(before.agents.at("a"), after.agents.at("a")));
  const Config other = config_of("agents: {a: {command: [y], health: ping}}");
  CHECK(needs_new_workers(after.agents.at("a"), other.agents.at("a")));
}

}  // namespace kurultai::health_test
