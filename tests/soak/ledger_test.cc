#include "tools/soak/ledger.h"

#include <doctest/doctest.h>

namespace kurultai::ledger_test {
using namespace kurultai::soak;
using std::chrono::milliseconds;

namespace {

const TimePoint start{};
const Ending completed{.state = "completed", .reason = {}};

Accepted task(const std::string& key, bool leaks = false) {
  return {.key = key, .leaks = leaks, .due = start};
}

Ending failed(const std::string& reason, int attempt = 1) {
  return {.state = "failed", .reason = reason, .attempt = attempt};
}

}  // namespace

TEST_CASE("a task that was accepted, ran and completed is all right, in whatever order that is told") {
  Ledger ledger;
  ledger.accepted("1", task("a"));
  ledger.started("1", start + milliseconds(20));
  ledger.done("a");
  CHECK_FALSE(ledger.ended("1", completed, start + milliseconds(50)));
  ledger.done("b");
  ledger.ended("2", completed, start + milliseconds(70));
  ledger.accepted("2", task("b"));
  CHECK(ledger.open() == 0);
  ledger.close();
  CHECK(ledger.counts().lost == 0);
  CHECK(ledger.counts().duplicated == 0);
  CHECK(ledger.counts().ends.at("completed") == 2);
  CHECK(ledger.starts_ms().most() == doctest::Approx(20));
  CHECK(ledger.ends_ms().most() == doctest::Approx(70));
}

TEST_CASE("what is lost: unknown to the supervisor, never ended, or completed without having run") {
  Ledger ledger;
  for (const char* id : {"1", "2", "3"}) ledger.accepted(id, task(std::string("key") + id));
  ledger.unknown("1");
  ledger.ended("2", completed, start);
  ledger.close();
  CHECK(ledger.counts().lost == 3);
  CHECK(ledger.counts().ends.at("never ended") == 1);
}

TEST_CASE("what is duplicated: a second end, a second task of a key, a run too many") {
  Ledger ledger;
  ledger.accepted("1", task("a"));
  ledger.done("a");
  ledger.ended("1", completed, start);
  ledger.ended("1", failed("signal"), start);
  CHECK(ledger.counts().duplicated == 1);
  ledger.accepted("2", task("a"));
  CHECK(ledger.counts().duplicated == 2);
  ledger.accepted("3", task("c"));
  ledger.done("c");
  ledger.ended("3", completed, start);
  ledger.done("c");
  ledger.unknown("2");
  ledger.close();
  CHECK(ledger.counts().duplicated == 3);
}

TEST_CASE(
    "a task may run once more for each retry, each time it was sent back, and each supervisor that died") {
  Ledger ledger;
  ledger.accepted("1", task("a"));
  ledger.preempted("1", start);
  ledger.all_disturbed();
  for (int i = 0; i < 4; ++i) ledger.done("a");
  ledger.ended("1", {.state = "completed", .reason = {}, .attempt = 2}, start);
  ledger.close();
  CHECK(ledger.counts().duplicated == 0);
}

TEST_CASE("an end that was asked for may be told once more") {
  Ledger ledger;
  ledger.accepted("1", task("a"));
  ledger.done("a");
  ledger.ended("1", {.state = "completed", .reason = {}, .attempt = 1, .asked = true}, start);
  ledger.ended("1", completed, start);
  CHECK(ledger.counts().duplicated == 0);
  ledger.ended("1", completed, start);
  CHECK(ledger.counts().duplicated == 1);
}

TEST_CASE("the same key accepted again is the same task") {
  Ledger ledger;
  ledger.accepted("1", task("a"));
  ledger.accepted("1", task("a"));
  CHECK(ledger.counts().accepted == 1);
  ledger.done("a");
  ledger.ended("1", completed, start);
  ledger.accepted("1", task("a"));
  ledger.close();
  CHECK(ledger.counts().accepted == 1);
  CHECK(ledger.counts().duplicated == 0);
}

TEST_CASE("a failure counts when nothing was done to the task and nothing explains it") {
  Ledger ledger;
  for (const char* id : {"1", "2", "3", "4", "5", "6"})
    ledger.accepted(id, task(std::string("key") + id, std::string(id) == "3" || std::string(id) == "6"));
  CHECK(ledger.ended("1", failed("exit_code"), start));
  ledger.disturbed("2");
  CHECK_FALSE(ledger.ended("2", failed("signal"), start));
  CHECK_FALSE(ledger.ended("3", failed("memory_cap"), start));
  CHECK_FALSE(ledger.ended("4", failed("memory_cap"), start));
  CHECK_FALSE(ledger.ended("5", failed("memory_budget"), start));  // sent back too often
  CHECK_FALSE(ledger.ended("6", failed("exit_code"), start));  // a system call failed where memory ran out
  CHECK(ledger.counts().failed == 1);
  CHECK(ledger.counts().capped_leaks == 1);
  CHECK(ledger.counts().capped_others == 1);
}

TEST_CASE("those of which nothing was heard are named, the longest silent first") {
  Ledger ledger;
  for (const char* id : {"1", "2", "3"}) ledger.accepted(id, task(std::string("key") + id));
  ledger.heard_of("1", start + milliseconds(2000));
  ledger.started("2", start + milliseconds(1000));
  CHECK(ledger.silent_since(start + milliseconds(1500), 8) == std::vector<std::string>{"3", "2"});
  CHECK(ledger.silent_since(start + milliseconds(1500), 1) == std::vector<std::string>{"3"});
}

TEST_CASE("room is bounded: what ended long ago is judged and forgotten") {
  Ledger ledger;
  const std::size_t tasks = 3 * Ledger::remembered;
  for (std::size_t i = 0; i < tasks; ++i) {
    const std::string id = std::to_string(i);
    ledger.accepted(id, task("key" + id));
    if (i != 5) ledger.done("key" + id);
    ledger.ended(id, completed, start);
  }
  CHECK(ledger.counts().lost == 1);  // found out before the end
  ledger.ended(std::to_string(tasks - 1), completed, start);
  CHECK(ledger.counts().duplicated == 1);
  CHECK(ledger.open() == 0);
  CHECK(ledger.any(3).empty());
}

TEST_CASE("a reservoir keeps the most and the middle of more values than it has room for") {
  Reservoir reservoir;
  CHECK(reservoir.most() == 0);
  CHECK(reservoir.percentile(0.5) == 0);
  const int values = 10 * static_cast<int>(Reservoir::room);
  for (int i = 1; i <= values; ++i) reservoir.add(i);
  CHECK(reservoir.count() == static_cast<std::uint64_t>(values));
  CHECK(reservoir.most() == values);
  CHECK(reservoir.percentile(0.5) == doctest::Approx(values / 2.0).epsilon(0.05));
}

}  // namespace kurultai::ledger_test
