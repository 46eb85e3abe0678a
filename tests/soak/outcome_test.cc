#include "tools/soak/outcome.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace kurultai::outcome_test {
using namespace kurultai::soak;
using std::chrono::seconds;

namespace {

/// Everything as it should be.
Outcome good() {
  Outcome outcome;
  outcome.profile = "good <&>";
  outcome.seconds = outcome.planned = 600;
  outcome.budget = gibibytes(1);
  outcome.submitted = 100;
  outcome.tasks.accepted = 100;
  outcome.recovery_seconds = 0.1;
  outcome.fds = {20, 20};
  outcome.slope = {.per_hour = 0, .low = -1000, .high = 1000, .seconds = 500};
  return outcome;
}

/// The criteria that failed.
std::vector<std::string> failed(const Outcome& outcome, const Criteria& wanted) {
  std::vector<std::string> names;
  for (const Criterion& one : judge(outcome, wanted))
    if (one.judgement == Judgement::failed) names.push_back(one.name);
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("what is as it should be passes") {
  CHECK(failed(good(), {}) == Names{});
  CHECK(has_passed(judge(good(), {})));
}

TEST_CASE("each fault fails its own criterion") {
  const auto with = [](const std::function<void(Outcome&, Criteria&)>& change) {
    Outcome outcome = good();
    Criteria wanted;
    change(outcome, wanted);
    return failed(outcome, wanted);
  };
  CHECK(with([](Outcome& o, Criteria&) { o.tasks.lost = 1; }) == Names{"tasks lost"});
  CHECK(with([](Outcome& o, Criteria&) { o.tasks.duplicated = 1; }) == Names{"tasks duplicated"});
  CHECK(with([](Outcome& o, Criteria&) { o.tasks.failed = 1; }) == Names{"tasks failed without cause"});
  CHECK(with([](Outcome& o, Criteria&) { o.tasks.capped_others = 1; }) == Names{"OOM kills, wrongful"});
  CHECK(with([](Outcome& o, Criteria&) { o.kernel_kills = 1; }) == Names{"OOM kills, wrongful"});
  CHECK(with([](Outcome& o, Criteria&) { o.tasks.capped_leaks = 1; }) == Names{});
  CHECK(with([](Outcome& o, Criteria&) { o.unexpected["x"] = 1; }) == Names{"unexpected answers"});
  CHECK(with([](Outcome& o, Criteria&) { o.deaths = 1; }) == Names{"supervisor's own deaths"});
  CHECK(with([](Outcome& o, Criteria&) { o.overrun = 1; }) == Names{"arrivals not submitted"});
  CHECK(with([](Outcome& o, Criteria&) { o.fds.after = 21; }) == Names{"supervisor's descriptors"});
  CHECK(with([](Outcome& o, Criteria&) { o.groups.after = 1; }) == Names{"groups of workers"});
  CHECK(with([](Outcome& o, Criteria&) { o.left_behind = 1; }) == Names{"left behind at the end"});
  CHECK(with([](Outcome& o, Criteria& c) { o.answers_ms.add(2000), c.answer_p99 = seconds(1); }) ==
        Names{"due to answered"});
  CHECK(with([](Outcome& o, Criteria& c) { o.refusals["queue_full"] = 20, c.refused_most = 0.1; }) ==
        Names{"refused"});
  CHECK(with([](Outcome&, Criteria& c) { c.refused_fewest = 1; }) == Names{"refused"});
  CHECK(with([](Outcome&, Criteria& c) { c.rightful_fewest = 1; }) == Names{"OOM kills, over their own cap"});
  CHECK(with([](Outcome& o, Criteria& c) { o.recovery_seconds.reset(), c.recovery = seconds(1); }) ==
        Names{"recovered in"});
  CHECK(with([](Outcome& o, Criteria& c) { o.recovery_seconds = 2, c.recovery = seconds(1); }) ==
        Names{"recovered in"});
}

TEST_CASE("growth is wrong when it is too much or certain, and not judged in less than half an hour") {
  Criteria wanted;
  wanted.growth_per_hour = mebibytes(1);
  const auto with = [&](const LeakSlope& slope) {
    Outcome outcome = good();
    outcome.slope = slope;
    return failed(outcome, wanted);
  };
  CHECK(with({.per_hour = 1e5, .low = -1e5, .high = 3e5, .seconds = 1800}) == Names{});
  CHECK(with({.per_hour = 6e5, .low = 1e4, .high = 9e5, .seconds = 1800}) == Names{"supervisor growth"});
  CHECK(with({.per_hour = 1e5, .low = 6e4, .high = 1.2e5, .seconds = 2700}) == Names{});  // 90 KB in all
  CHECK(with({.per_hour = 1e5, .low = 6e4, .high = 1.2e5, .seconds = 86400}) == Names{"supervisor growth"});
  CHECK(with({.per_hour = 5e6, .low = -1e5, .high = 1e7, .seconds = 1800}) == Names{"supervisor growth"});
  CHECK(with({.per_hour = 5e6, .low = 4e6, .high = 6e6, .seconds = 1799}) == Names{});
  CHECK(with({}) == Names{});
}

TEST_CASE("the report and the chart can be made of nothing") {
  const Outcome outcome = good();
  const auto criteria = judge(outcome, {});
  const auto report = to_json(outcome, criteria);
  CHECK(report.at("passed") == true);
  CHECK(report.at("criteria").size() == criteria.size());
  CHECK(to_table(outcome, criteria).ends_with("\npassed\n"));
  const std::string svg = to_svg(outcome);
  CHECK(svg.starts_with("<svg "));
  CHECK(svg.find("good &lt;&amp;&gt;: memory") != std::string::npos);
  CHECK(svg.find("nan") == std::string::npos);
}

}  // namespace kurultai::outcome_test
