#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "supervisor/doctor/diagnosis.h"

namespace kurultai::doctor_test {

namespace {

/// A machine on which nothing has to be changed.
MachineFacts good_machine() {
  MachineFacts facts;
  facts.guarantee = Guarantee::cgroup2;
  facts.explanation = "cgroup v2 in /sys/fs/cgroup/kurultai";
  facts.memory = gibibytes(4);
  facts.free_swap = gibibytes(1);
  facts.pressure = true;
  facts.is_root = facts.may_keep_oom_order = facts.may_come_first = true;
  facts.open_files = 100000;
  facts.state_directory = "/var/lib/kurultai";
  facts.state_room = gibibytes(100);
  facts.sync = std::chrono::microseconds(1250);
  return facts;
}

Check check_of(const MachineFacts& facts, const Config& config, std::string_view name) {
  const auto checks = diagnose(facts, config);
  const auto found = std::ranges::find(checks, name, &Check::name);
  REQUIRE(found != checks.end());
  return *found;
}

AgentConfig agent_of(const std::string& user) {
  AgentConfig agent;
  agent.command = {"sh"};
  agent.user = user;
  return agent;
}

}  // namespace

TEST_CASE("on a machine that has all there is nothing to change") {
  const auto checks = diagnose(good_machine(), Config());
  CHECK(worst(checks) == CheckStatus::good);
  for (const Check& check : checks) {
    CAPTURE(check.name);
    CHECK(check.status == CheckStatus::good);
    CHECK(check.advice.empty());
    CHECK_FALSE(check.finding.empty());
  }
  CHECK(check_of(good_machine(), Config(), "state directory").finding ==
        "/var/lib/kurultai: 100GiB free, written for good in 1.3 ms");
}

TEST_CASE("what no agent asks for need not be had") {
  MachineFacts machine = good_machine();
  machine.tmp_trouble = machine.sandbox_trouble = "not permitted";
  CHECK(worst(diagnose(machine, Config())) == CheckStatus::good);
  CHECK(check_of(machine, Config(), "sandbox").finding == "not permitted; no agent asks for it");
}

TEST_CASE("each thing that is amiss is said with what to change") {
  struct Case {
    const char* check;
    CheckStatus status;
    void (*spoil)(MachineFacts&, Config&);
  };
  for (const Case& c : {
           Case{"memory caps", CheckStatus::warning,
                [](MachineFacts& m, Config&) { m.guarantee = Guarantee::rlimit; }},
           Case{"memory budget", CheckStatus::problem,
                [](MachineFacts&, Config& config) { config.memory.budget = gibibytes(5); }},
           Case{"swap", CheckStatus::warning, [](MachineFacts& m, Config&) { m.free_swap.reset(); }},
           Case{"machine out of memory", CheckStatus::problem,
                [](MachineFacts& m, Config&) { m.panic_on_oom = 1; }},
           Case{"order of ends", CheckStatus::warning,
                [](MachineFacts& m, Config&) { m.may_keep_oom_order = false; }},
           Case{"private tmp", CheckStatus::warning,
                [](MachineFacts& m, Config& config) {
                  m.tmp_trouble = "unshare: Operation not permitted";
                  config.agents["a"] = agent_of("auto");
                  config.agents["a"].tmp.is_private = true;
                }},
           Case{"sandbox", CheckStatus::problem,
                [](MachineFacts& m, Config& config) {
                  m.sandbox_trouble = "sandbox: exec bwrap: No such file or directory";
                  config.agents["a"] = agent_of("auto");
                  config.agents["a"].sandbox.kind = SandboxKind::bubblewrap;
                }},
           Case{"promptness", CheckStatus::warning,
                [](MachineFacts& m, Config&) { m.may_come_first = false; }},
           Case{"agents' users", CheckStatus::warning,
                [](MachineFacts&, Config& config) { config.agents["a"] = agent_of(""); }},
           Case{"agents' users", CheckStatus::problem,
                [](MachineFacts& m, Config& config) {
                  m.is_root = false;
                  config.agents["a"] = agent_of("auto");
                }},
           Case{"open files", CheckStatus::warning, [](MachineFacts& m, Config&) { m.open_files = 1024; }},
           Case{"state directory", CheckStatus::problem,
                [](MachineFacts& m, Config&) { m.state_trouble = "write to /x: Read-only file system"; }},
           Case{"state directory", CheckStatus::warning,
                [](MachineFacts& m, Config&) { m.state_in_memory = true; }},
           Case{"state directory", CheckStatus::warning,
                [](MachineFacts& m, Config&) { m.state_room = gibibytes(1); }},
           Case{"token", CheckStatus::problem, [](MachineFacts& m, Config&) { m.token_is_open = true; }},
           Case{"token", CheckStatus::warning,
                [](MachineFacts&, Config& config) { config.gateway.auth = false; }},
           Case{"agents' programs", CheckStatus::problem,
                [](MachineFacts& m, Config&) { m.missing = {{"a", "no-such-program"}}; }},
       }) {
    MachineFacts facts = good_machine();
    Config config;
    c.spoil(facts, config);
    CAPTURE(c.check);
    const Check check = check_of(facts, config, c.check);
    CHECK(check.status == c.status);
    CHECK_FALSE(check.advice.empty());
    CHECK(worst(diagnose(facts, config)) == c.status);
  }
}

TEST_CASE("what is required of a machine is a problem where it guarantees less") {
  struct Case {
    Guarantee found, required;
    CheckStatus status;
  };
  for (const Case& each : {Case{Guarantee::cgroup2, Guarantee::cgroup2, CheckStatus::good},
                           Case{Guarantee::cgroup2, Guarantee::cgroup1, CheckStatus::good},
                           Case{Guarantee::cgroup1, Guarantee::cgroup2, CheckStatus::problem},
                           Case{Guarantee::cgroup1, Guarantee::rlimit, CheckStatus::good},
                           Case{Guarantee::rlimit, Guarantee::cgroup1, CheckStatus::problem},
                           Case{Guarantee::rlimit, Guarantee::rlimit, CheckStatus::warning}}) {
    MachineFacts facts = good_machine();
    facts.guarantee = each.found;
    const auto checks = diagnose(facts, Config(), each.required);
    CHECK(worst(checks) == each.status);
    CHECK(checks.front().advice.empty() == (each.status == CheckStatus::good));
  }
}

TEST_CASE("a group that is asked for by name and cannot be had is a problem") {
  MachineFacts facts = good_machine();
  facts.guarantee = Guarantee::rlimit;
  Config config;
  config.memory.cgroup_parent = "/agents";
  const Check check = check_of(facts, config, "memory caps");
  CHECK(check.status == CheckStatus::problem);
  CHECK(check.advice.starts_with("memory.cgroup_parent asks for groups in /agents; "));
}

TEST_CASE("what a machine may lack without harm is said and is good") {
  MachineFacts facts = good_machine();
  facts.pressure = false;
  facts.free_swap = Bytes{};
  CHECK(worst(diagnose(facts, Config())) == CheckStatus::good);
  Config config;
  config.memory.budget.reset();
  CHECK(check_of(facts, config, "memory budget").finding == "auto: 4GiB");
  config.gateway.listen = "none";
  facts.token_is_open = true;
  CHECK(check_of(facts, config, "token").status == CheckStatus::good);
}

TEST_CASE("many agents are named in part") {
  Config config;
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g"}) config.agents[name] = agent_of("");
  CHECK(check_of(good_machine(), config, "agents' users").finding.starts_with("a, b, c, d, e and 2 more: "));
}

TEST_CASE("a report has a line a check, and its advice below") {
  const std::vector<Check> checks = {{"swap", CheckStatus::good, "none", ""},
                                     {"token", CheckStatus::problem, "open", "close it"}};
  CHECK(to_report(checks) ==
        "ok       swap                   none\n"
        "problem  token                  open\n"
        "         to change it: close it\n");
  const auto json = nlohmann::json::parse(to_json(checks, Guarantee::cgroup1));
  CHECK(json["status"] == "problem");
  CHECK(json["guarantee"] == "cgroup1");
  CHECK(json["checks"][0] == nlohmann::json{{"check", "swap"}, {"status", "ok"}, {"finding", "none"}});
  CHECK(json["checks"][1]["advice"] == "close it");
}

}  // namespace kurultai::doctor_test
