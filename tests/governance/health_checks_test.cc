#include "governance/health_checks.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

namespace kurultai::health_checks_test {
using namespace std::chrono_literals;

namespace {

constexpr HealthRule rule{HealthStrategy::ping, 30s, 5s, 3};
const TimePoint start{1h};

/// The only one due at `now`, of one watched worker.
HealthChecks::Due due_at(HealthChecks& checks, TimePoint now) {
  const auto due = checks.take_due(now, 10);
  REQUIRE(due.size() == 1);
  return due[0];
}

HealthStatus status_of(const HealthChecks& checks, const std::string& worker = "w1") {
  REQUIRE(checks.find(worker) != nullptr);
  return checks.find(worker)->status;
}

/// Lets the worker miss its next check; when it was given up.
TimePoint miss(HealthChecks& checks) {
  const TimePoint asked = checks.next();
  REQUIRE_FALSE(due_at(checks, asked).late);
  const auto check = checks.begin("w1", asked);
  const TimePoint late = checks.next();
  CHECK(late == asked + rule.timeout);
  CHECK(due_at(checks, late).late == check);
  CHECK(checks.failed("w1", check, late, "no PONG"));
  return late;
}

}  // namespace

TEST_CASE("nobody is asked who need not be") {
  HealthChecks checks;
  checks.watch("w1", {}, start);
  CHECK(checks.find("w1") == nullptr);
  CHECK(checks.next() == TimePoint::max());
  CHECK(checks.take_due(start + 24h, 10).empty());
}

TEST_CASE("the first check comes within an interval, and the next ones an interval apart") {
  HealthChecks checks;
  checks.watch("w1", rule, start);
  CHECK(status_of(checks) == HealthStatus::unknown);
  TimePoint turn = checks.next();
  CHECK(turn >= start);
  CHECK(turn < start + rule.interval);
  CHECK(checks.take_due(turn - 1ns, 10).empty());
  for (int i = 0; i < 5; ++i) {
    CHECK(due_at(checks, turn + 3ms).worker == "w1");  // the loop was a little late
    CHECK(checks.take_due(turn + 1h, 10).empty());     // it has been handed out
    const auto check = checks.begin("w1", turn + 3ms);
    CHECK(checks.passed("w1", check, turn + 4ms));
    turn += rule.interval;
    CHECK(checks.next() == turn);
  }
  CHECK(status_of(checks) == HealthStatus::healthy);
  CHECK(checks.find("w1")->took == 1ms);
}

TEST_CASE("one who fails is suspect, then unhealthy, and well again after one that passes") {
  HealthChecks checks;
  checks.watch("w1", rule, start);
  const TimePoint first = miss(checks);
  CHECK(status_of(checks) == HealthStatus::suspect);
  miss(checks);
  CHECK(status_of(checks) == HealthStatus::suspect);
  CHECK(checks.find("w1")->since == first);  // of the status, not of the last check
  CHECK(checks.find("w1")->failures == 2);
  const TimePoint third = miss(checks);
  CHECK(status_of(checks) == HealthStatus::unhealthy);
  CHECK(checks.find("w1")->since == third);
  CHECK(checks.find("w1")->reason == "no PONG");
  const TimePoint turn = checks.next();
  due_at(checks, turn);
  CHECK(checks.passed("w1", checks.begin("w1", turn), turn + 1ms));
  CHECK(status_of(checks) == HealthStatus::healthy);
  CHECK(checks.find("w1")->failures == 0);
  CHECK(checks.find("w1")->reason.empty());
}

TEST_CASE("failures: 1 makes the first one count") {
  HealthChecks checks;
  HealthRule strict = rule;
  strict.failures = 1;
  checks.watch("w1", strict, start);
  miss(checks);
  CHECK(status_of(checks) == HealthStatus::unhealthy);
}

TEST_CASE("only the check under way is answered, and once") {
  HealthChecks checks;
  checks.watch("w1", rule, start);
  CHECK_FALSE(checks.passed("w1", 0, start));  // none was begun
  CHECK_FALSE(checks.passed("w1", 1, start));
  CHECK_FALSE(checks.passed("w2", 1, start));  // nobody knows it
  const TimePoint turn = checks.next();
  due_at(checks, turn);
  const auto check = checks.begin("w1", turn);
  CHECK(checks.under_way("w1") == turn);
  CHECK_FALSE(checks.passed("w1", check + 1, turn));
  CHECK_FALSE(checks.passed("w1", check - 1, turn));
  CHECK(checks.passed("w1", check, turn));
  CHECK_FALSE(checks.passed("w1", check, turn));
  CHECK_FALSE(checks.failed("w1", check, turn, "x"));
  CHECK_FALSE(checks.under_way("w1"));
  CHECK(status_of(checks) == HealthStatus::healthy);
}

TEST_CASE("an answer after the deadline counts for nothing") {
  HealthChecks checks;
  checks.watch("w1", rule, start);
  const TimePoint turn = checks.next();
  due_at(checks, turn);
  const auto check = checks.begin("w1", turn);
  due_at(checks, turn + 5s);
  CHECK(checks.failed("w1", check, turn + 5s, "no PONG"));
  CHECK_FALSE(checks.passed("w1", check, turn + 6s));
  CHECK(status_of(checks) == HealthStatus::suspect);
}

TEST_CASE("one that is passed over keeps what was known of it") {
  HealthChecks checks;
  checks.watch("w1", rule, start);
  miss(checks);
  const TimePoint turn = checks.next();
  due_at(checks, turn);
  checks.skip("w1", turn);
  CHECK(status_of(checks) == HealthStatus::suspect);
  CHECK(checks.find("w1")->failures == 1);
  CHECK(checks.next() == turn + rule.interval);
  // Also when it was asked already, and was given work before it answered.
  due_at(checks, turn + rule.interval);
  const auto check = checks.begin("w1", turn + rule.interval);
  due_at(checks, turn + rule.interval + rule.timeout);
  checks.skip("w1", turn + rule.interval + rule.timeout);
  CHECK_FALSE(checks.passed("w1", check, turn + rule.interval + rule.timeout));
  CHECK(checks.next() == turn + 2 * rule.interval);
}

TEST_CASE("who has shown that it is well need not be asked") {
  HealthChecks checks;
  checks.watch("w1", rule, start);
  miss(checks);
  const TimePoint turn = checks.next();
  due_at(checks, turn);
  checks.seen_well("w1", turn - 2s, turn);
  CHECK(status_of(checks) == HealthStatus::healthy);
  CHECK(checks.find("w1")->checked == turn - 2s);
  CHECK(checks.find("w1")->since == turn - 2s);
  CHECK(checks.next() == turn + rule.interval);
}

TEST_CASE("turns that went by while the machine slept are not made up for") {
  HealthChecks checks;
  checks.watch("w1", rule, start);
  const TimePoint turn = checks.next();
  const TimePoint late = turn + 10 * rule.interval + 1s;
  due_at(checks, late);
  CHECK(checks.passed("w1", checks.begin("w1", late), late));
  CHECK(checks.next() == turn + 11 * rule.interval);
}

TEST_CASE("a thousand are spread over the interval, and stay so") {
  HealthChecks checks;
  for (int i = 0; i < 1000; ++i) checks.watch("w" + std::to_string(i), rule, start);
  CHECK(checks.size() == 1000);
  for (int round = 0; round < 3; ++round) {
    std::size_t asked = 0, most = 0;
    std::set<std::string> who;
    for (TimePoint now = start + round * rule.interval; now < start + (round + 1) * rule.interval;
         now += 300ms) {
      const auto due = checks.take_due(now + 299ms, 1000);
      asked += due.size();
      most = std::max(most, due.size());
      for (const auto& one : due) {
        who.insert(one.worker);
        CHECK(checks.passed(one.worker, checks.begin(one.worker, now + 299ms), now + 299ms));
      }
    }
    CHECK(asked == 1000);
    CHECK(who.size() == 1000);
    CHECK(most <= 14);  // of the hundred parts, where ten each would be even
  }
}

TEST_CASE("a few are spread too") {
  HealthChecks checks;
  for (int i = 0; i < 5; ++i) checks.watch("w" + std::to_string(i), rule, start);
  TimePoint before = start - rule.interval;
  for (int i = 0; i < 5; ++i) {
    CHECK(checks.next() - before > 3s);  // 6 s each would be even
    before = checks.next();
    due_at(checks, before);
  }
}

TEST_CASE("no more are handed out at once than asked for, the longest due first") {
  HealthChecks checks;
  for (int i = 0; i < 100; ++i) checks.watch("w" + std::to_string(i), rule, start);
  const TimePoint now = start + rule.interval;
  std::set<std::string> who;
  for (int i = 0; i < 10; ++i) {
    for (const auto& due : checks.take_due(now, 10)) who.insert(due.worker);
    CHECK(who.size() == static_cast<std::size_t>(10 * (i + 1)));
  }
  CHECK(checks.take_due(now, 10).empty());
}

TEST_CASE("a new rule begins anew, and one who is gone is never due") {
  HealthChecks checks;
  checks.watch("w1", rule, start);
  miss(checks);
  const TimePoint turn = checks.next();
  due_at(checks, turn);
  const auto check = checks.begin("w1", turn);
  HealthRule other = rule;
  other.interval = 10s;
  checks.watch("w1", other, turn);
  CHECK(status_of(checks) == HealthStatus::unknown);
  CHECK_FALSE(checks.passed("w1", check, turn));
  CHECK(checks.next() < turn + 10s);
  checks.forget("w1");
  checks.forget("w1");
  CHECK(checks.take_due(turn + 1h, 10).empty());
  CHECK_FALSE(checks.failed("w1", check, turn, "x"));
  checks.skip("w1", turn);
  checks.seen_well("w1", turn, turn);
  CHECK(checks.find("w1") == nullptr);
}

TEST_CASE("a task's progress tells how its worker is") {
  const TimePoint began = start, progress = start + 10s;
  const auto early = health_by_progress(began, progress, 60s, start + 39s);
  CHECK(early.status == HealthStatus::healthy);
  CHECK(early.since == began);
  CHECK(early.checked == progress);
  const auto late = health_by_progress(began, progress, 60s, start + 41s);
  CHECK(late.status == HealthStatus::suspect);
  CHECK(late.since == start + 40s);
  CHECK(late.reason == "no progress for 31s");
}

}  // namespace kurultai::health_checks_test
