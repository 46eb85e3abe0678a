#include "tools/bench/trials/history.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

namespace kurultai::history_test {
using namespace kurultai::bench;
using nlohmann::json;

namespace {

json event(const char* type, const char* milliseconds, json more = json::object()) {
  more.update(
      {{"type", type}, {"taskId", "1"}, {"time", std::string("2026-01-01T00:00:00.") + milliseconds + "Z"}});
  return more;
}

Subject told(const std::vector<json>& events) { return told_by(events, {{.id = "1"}}).front(); }

}  // namespace

TEST_CASE("a task that gave way was chosen its reaction time before it ended") {
  const Subject subject =
      told({event("taskStarted", "000"), event("taskProgress", "100"), event("taskProgress", "200"),
            event("taskPreempted", "500",
                  {{"reactionMs", 40}, {"reason", "kill"}, {"correlationId", "g8"}, {"chosenBy", "g7"}})});
  REQUIRE(subject.turns.size() == 1);
  const Turn& turn = subject.turns[0];
  CHECK(turn.ended - turn.holding == doctest::Approx(400));
  CHECK(turn.ended - turn.decided == doctest::Approx(40));
  CHECK(turn.decision == 7);
  CHECK(turn.why == "kill");
  CHECK(subject.gave_way());
  CHECK_FALSE(subject.finished);
}

TEST_CASE("each start is a turn of its own, and a completed task has not failed") {
  const Subject subject =
      told({event("taskStarted", "000"), event("taskPreempted", "100"), event("taskStarted", "200"),
            event("taskProgress", "300"), event("taskCompleted", "400")});
  REQUIRE(subject.turns.size() == 2);
  CHECK(subject.turns[0].holding == never);
  CHECK(subject.turns[1].ended < never);
  CHECK(subject.turns[1].why.empty());
  CHECK(subject.finished);
  CHECK(subject.failure.empty());
}

TEST_CASE("giving way again before it was started leaves the turn before as it was") {
  const Subject subject = told({event("taskStarted", "000"), event("taskProgress", "100"),
                                event("taskPreempted", "200"), event("taskPreempted", "900")});
  REQUIRE(subject.turns.size() == 2);
  CHECK(subject.turns[0].ended - subject.turns[0].holding == doctest::Approx(100));
  CHECK(subject.turns[1].holding == never);
}

TEST_CASE("a failure is told with its reason") {
  const json error = {{"reason", "signal"}, {"message", "killed"}};
  CHECK(told({event("taskStarted", "000"), event("taskFailed", "100", {{"error", error}})}).failure ==
        "signal, killed");
}

TEST_CASE("events of others, and without a task, are passed over") {
  json other = event("taskStarted", "000");
  other["taskId"] = "2";
  CHECK(told({other, {{"type", "draining"}}}).turns.empty());
}

}  // namespace kurultai::history_test
