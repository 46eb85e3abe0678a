#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tools/kurultai/drill/outcome.h"

namespace kurultai::drill_test {

namespace {

DrillOutcome survived() {
  DrillOutcome outcome;
  outcome.guarantee = "cgroup2";
  outcome.explanation = "in /sys/fs/cgroup/kurultai";
  outcome.budget = mebibytes(1000);
  outcome.highest = mebibytes(860);
  outcome.leak_end = "preempt";
  outcome.leak_ratio = 0.852;
  outcome.leak_peak = mebibytes(730);
  outcome.leak_ran = std::chrono::milliseconds(450);
  outcome.reaction_ms = 0.42;
  outcome.healthy = {"normal", "completed", 300, 0, 4.25};
  outcome.important = {"critical", "completed", 301, 0, 3};
  return outcome;
}

}  // namespace

TEST_CASE("a drill is survived when the leak alone paid and the budget held") {
  CHECK(survived().is_survived());
  for (void (*spoil)(DrillOutcome&) : {
           +[](DrillOutcome& o) { o.leak_end.clear(); },
           +[](DrillOutcome& o) { o.healthy.state = "failed"; },
           +[](DrillOutcome& o) { o.important.errors = 1; },
           +[](DrillOutcome& o) { o.important.rounds = 0; },
           +[](DrillOutcome& o) { o.highest = o.budget + Bytes{1}; },
       }) {
    DrillOutcome outcome = survived();
    spoil(outcome);
    CHECK_FALSE(outcome.is_survived());
    CHECK(to_report(outcome).ends_with("verdict     NOT survived\n"));
  }
}

TEST_CASE("a drill's report can be pasted") {
  CHECK(to_report(survived()) ==
        "guarantee   cgroup2: in /sys/fs/cgroup/kurultai\n"
        "budget      1000MiB\n"
        "leak        preempt after 450ms, with 730MiB, at 85.2 % of the budget, gone 0.4 ms after the "
        "decision's reading\n"
        "healthy     completed, 300 rounds of fork, pipe, file and memory, the longest 4.2 ms, 0 errors\n"
        "important   completed, 301 rounds of fork, pipe, file and memory, the longest 3.0 ms, 0 errors\n"
        "highest use 860MiB, 86.0 %\n"
        "verdict     survived: the leak alone paid\n");
  const auto json = nlohmann::json::parse(to_json(survived()));
  CHECK(json["survived"] == true);
  CHECK(json["leak"]["end"] == "preempt");
  CHECK(json["healthy"]["longestMs"] == 4.25);
}

TEST_CASE("a drill has the operator's memory settings and none of the agents") {
  Config config;
  config.memory.budget = gibibytes(8);
  config.memory.thresholds.ratio[static_cast<std::size_t>(Threshold::preempt)] = 0.8;
  config.memory.ladder.suspend = false;
  config.agents["a"].command = {"sh"};
  const Config drilled = drill_configuration(config, gibibytes(1));
  CHECK(drilled.memory.budget == gibibytes(1));
  CHECK(drilled.memory.thresholds.at(Threshold::preempt) == 0.8);
  CHECK_FALSE(drilled.memory.ladder.suspend);
  CHECK(drilled.agents.empty());
  CHECK(drilled.exec.allow);
  config.memory.budget = mebibytes(300);
  CHECK(drill_configuration(config, gibibytes(1)).memory.budget == mebibytes(300));
  config.memory.budget.reset();
  CHECK(drill_configuration(config, gibibytes(1)).memory.budget == gibibytes(1));
}

}  // namespace kurultai::drill_test
