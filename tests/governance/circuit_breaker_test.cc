#include "governance/circuit_breaker.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>

namespace kurultai::circuit_breaker_test {
namespace {

using namespace std::chrono_literals;
using enum BreakerState;

const TimePoint start{1h};
const BreakerCaller me{"w1", 7};

// A breaker that was opened by three failures at `start`.
CircuitBreaker opened(BreakerSettings settings = {}) {
  CircuitBreaker breaker(std::move(settings));
  while (breaker.state() != open) breaker.failure(start, me);
  return breaker;
}

void check_refused(CircuitBreaker& breaker, TimePoint now, Duration retry_after) {
  const auto answer = breaker.acquire(now, me);
  CHECK_FALSE(answer.allowed);
  CHECK(answer.retry_after == retry_after);
  CHECK_FALSE(answer.change);
}

void check_allowed(CircuitBreaker& breaker, TimePoint now) {
  const auto answer = breaker.acquire(now, me);
  CHECK(answer.allowed);
  CHECK(answer.retry_after == 0ms);
}

TEST_CASE("it opens with enough failures within the window, not before") {
  const struct {
    std::initializer_list<Duration> failures;
    BreakerState state;
  } table[] = {
      {{}, closed},
      {{0s}, closed},
      {{0s, 1s}, closed},
      {{0s, 1s, 2s}, open},
      {{0s, 0s, 0s}, open},
      {{0s, 1s, 59999ms}, open},
      {{0s, 1s, 60000ms}, open},
      {{0s, 1s, 60001ms}, closed},
      {{0s, 1s, 60001ms, 61000ms}, open},
      {{0s, 1s, 61001ms, 61002ms}, closed},
      {{0s, 50s, 100s, 150s, 200s}, closed},
      {{0s, 50s, 100s, 105s}, open},
  };
  for (const auto& row : table) {
    CircuitBreaker breaker{BreakerSettings{}};
    for (const Duration at : row.failures) {
      const auto change = breaker.failure(start + at, me);
      CHECK(change.has_value() == (breaker.state() == open));
      if (change) CHECK(change == BreakerChange{closed, open});
    }
    CHECK(breaker.state() == row.state);
  }
}

TEST_CASE("closed it lets everyone through, and successes between failures clear nothing") {
  CircuitBreaker breaker{BreakerSettings{}};
  for (int i = 0; i < 2; ++i) {
    check_allowed(breaker, start);
    breaker.failure(start, me);
    CHECK_FALSE(breaker.success(start, me));
  }
  check_allowed(breaker, start);
  CHECK(breaker.failure(start, me) == BreakerChange{closed, open});
}

TEST_CASE("open it refuses until the back-off is over and says how long") {
  auto breaker = opened();
  check_refused(breaker, start, 1s);
  check_refused(breaker, start + 400ms, 600ms);
  check_refused(breaker, start + 999ms, 1ms);
  check_refused(breaker, start + 1s - 1ns, 1ms);
  const auto answer = breaker.acquire(start + 1s, me);
  CHECK(answer.allowed);
  CHECK(answer.change == BreakerChange{open, half_open});
}

TEST_CASE("an open one ignores late answers") {
  auto breaker = opened();
  CHECK_FALSE(breaker.failure(start + 900ms, me));
  CHECK_FALSE(breaker.success(start + 900ms, me));
  CHECK(breaker.state() == open);
  check_allowed(breaker, start + 1s);
}

TEST_CASE("half-open lets one probe through however many ask") {
  auto breaker = opened();
  check_allowed(breaker, start + 1s);
  for (int i = 0; i < 100; ++i) check_refused(breaker, start + 1s, 1s);
  check_refused(breaker, start + 1999ms, 1s);
  CHECK_FALSE(breaker.success(start + 1999ms, me));
  check_allowed(breaker, start + 1999ms);
  check_refused(breaker, start + 1999ms, 1s);
}

TEST_CASE("a probe without an answer is given up after its time, and its late answer is nobody's") {
  auto breaker = opened({.probe_timeout = 5s});
  check_allowed(breaker, start + 1s);
  check_refused(breaker, start + 2s, 1s);  // its answer may come at any time
  check_refused(breaker, start + 5999ms, 1ms);
  const auto second = breaker.acquire(start + 6s, {"w2"});
  CHECK(second.allowed);
  CHECK_FALSE(second.change);
  check_refused(breaker, start + 6s, 1s);
  CHECK_FALSE(breaker.success(start + 7s, me));
  CHECK_FALSE(breaker.failure(start + 7s, me));
  CHECK(breaker.has_probe({"w2"}));
  CHECK(breaker.failure(start + 8s, {"w2"}) == BreakerChange{half_open, open});
  check_refused(breaker, start + 8s, 2s);
}

TEST_CASE("a probe that is always given back has no time-out") {
  auto breaker = opened({.probe_timeout = 0s});
  check_allowed(breaker, start + 1s);
  check_refused(breaker, start + 100h, 1s);
  breaker.give_back(me);
  check_allowed(breaker, start + 100h);
}

TEST_CASE("only who has the probe answers for it, call by call") {
  auto breaker = opened();
  check_allowed(breaker, start + 1s);
  const struct {
    BreakerCaller caller;
    bool counts;
  } table[] = {{{"w1", 6}, false}, {{"w1"}, false}, {{"w2", 7}, false}, {{}, false}, {me, true}};
  for (const auto& row : table) {
    CAPTURE(row.caller.call);
    CHECK(breaker.has_probe(row.caller) == row.counts);
    CHECK_FALSE(breaker.success(start + 1s, row.caller));
    breaker.give_back({"w1", 6});
  }
  CHECK(breaker.state() == half_open);
  check_allowed(breaker, start + 1s);  // the one success was counted
  CHECK(breaker.success(start + 1s, me) == BreakerChange{half_open, closed});
}

TEST_CASE("a probe that is given back lets another one through at once, and says nothing") {
  auto breaker = opened();
  check_allowed(breaker, start + 1s);
  SUBCASE("by its call") {
    breaker.give_back({"w1", 8});
    check_refused(breaker, start + 1s, 1s);
    breaker.give_back(me);
  }
  SUBCASE("with its worker") {
    breaker.give_back_all("w");
    check_refused(breaker, start + 1s, 1s);
    breaker.give_back_all("w1");
  }
  CHECK(breaker.retry_after(start + 1s) == 0ms);
  check_allowed(breaker, start + 1s);
  CHECK_FALSE(breaker.success(start + 1s, me));
  CHECK(breaker.state() == half_open);
}

TEST_CASE("it closes after enough successes in a row, each of a probe") {
  auto breaker = opened();
  check_allowed(breaker, start + 1s);
  CHECK_FALSE(breaker.success(start + 1s, me));
  CHECK_MESSAGE(!breaker.success(start + 1s, me), "no probe is under way");
  CHECK_MESSAGE(!breaker.failure(start + 1s, me), "no probe is under way");
  CHECK(breaker.state() == half_open);
  check_allowed(breaker, start + 1s);
  CHECK(breaker.success(start + 1s, me) == BreakerChange{half_open, closed});
  check_allowed(breaker, start + 1s);
  CHECK_FALSE(breaker.failure(start + 1s, me));
  CHECK_FALSE(breaker.failure(start + 1s, me));
  // Only now: the earlier failures are forgotten.
  CHECK(breaker.failure(start + 1s, me) == BreakerChange{closed, open});
}

TEST_CASE("a failure between the successes starts their row anew") {
  auto breaker = opened();
  check_allowed(breaker, start + 1s);
  breaker.success(start + 1s, me);
  check_allowed(breaker, start + 1s);
  CHECK(breaker.failure(start + 1s, me) == BreakerChange{half_open, open});
  check_allowed(breaker, start + 3s);
  CHECK_FALSE(breaker.success(start + 3s, me));
  check_allowed(breaker, start + 3s);
  CHECK(breaker.success(start + 3s, me) == BreakerChange{half_open, closed});
}

TEST_CASE("each time it opens again it stays longer, the last back-off repeats, closing starts over") {
  auto breaker = opened();
  TimePoint now = start;
  for (const Duration backoff : {1s, 2s, 4s, 8s, 8s, 8s}) {
    CAPTURE(backoff.count());
    check_refused(breaker, now, backoff);
    check_refused(breaker, now + backoff - 1ms, 1ms);
    now += backoff;
    check_allowed(breaker, now);
    CHECK(breaker.failure(now, me) == BreakerChange{half_open, open});
  }
  now += 8s;
  for (int i = 0; i < 2; ++i) {
    check_allowed(breaker, now);
    breaker.success(now, me);
  }
  REQUIRE(breaker.state() == closed);
  for (int i = 0; i < 3; ++i) breaker.failure(now, me);
  check_refused(breaker, now, 1s);
}

TEST_CASE("a failing endpoint asked for ten times in a row is attempted fewer than five times") {
  CircuitBreaker breaker{BreakerSettings{}};
  int attempts = 0;
  for (int i = 0; i < 10; ++i) {
    const TimePoint now = start + i * 100ms;
    if (!breaker.acquire(now, me).allowed) continue;
    ++attempts;
    breaker.failure(now, me);
  }
  CHECK(attempts == 3);
}

TEST_CASE("the settings count: one failure, one success, one back-off") {
  auto breaker = opened({.failures = 1, .window = 0s, .successes = 1, .backoff = {250ms}});
  check_refused(breaker, start + 249ms, 1ms);
  check_allowed(breaker, start + 250ms);
  breaker.failure(start + 250ms, me);
  check_refused(breaker, start + 250ms, 250ms);
  check_allowed(breaker, start + 500ms);
  CHECK(breaker.success(start + 500ms, me) == BreakerChange{half_open, closed});
}

TEST_CASE("settings that make no sense do no harm") {
  CircuitBreaker breaker({.failures = 0, .window = -1s, .successes = -4, .backoff = {}});
  CHECK(breaker.failure(start, me) == BreakerChange{closed, open});
  check_allowed(breaker, start);
  check_refused(breaker, start, 1ms);  // still one probe at a time
  CHECK(breaker.success(start, me) == BreakerChange{half_open, closed});
}

TEST_CASE("a clock that jumps back counts as no time passed") {
  SUBCASE("while open") {
    auto breaker = opened();
    check_refused(breaker, start + 400ms, 600ms);
    check_refused(breaker, start - 30min, 600ms);
    check_refused(breaker, start - 30min + 599ms, 1ms);
    check_allowed(breaker, start - 30min + 600ms);
  }
  SUBCASE("while a probe is under way") {
    auto breaker = opened({.probe_timeout = 1s});
    check_allowed(breaker, start + 1s);
    check_refused(breaker, start, 1s);
    check_allowed(breaker, start + 1s);
  }
  SUBCASE("between failures") {
    CircuitBreaker breaker{BreakerSettings{}};
    breaker.failure(start, me);
    breaker.failure(start - 10min, me);
    CHECK_FALSE(breaker.failure(start - 10min + 60001ms, me));
    CHECK(breaker.state() == closed);
  }
  SUBCASE("and when it jumps forward again, as time passed") {
    auto breaker = opened();
    check_refused(breaker, start - 10s, 1s);
    check_allowed(breaker, start);
  }
}

TEST_CASE("looking at a breaker changes nothing") {
  CircuitBreaker breaker{BreakerSettings{}};
  CHECK(breaker.retry_after(start) == 0ms);
  breaker.failure(start, me);
  breaker.failure(start + 1s, me);
  CHECK(breaker.failures(start + 1s) == 2);
  CHECK(breaker.failures(start + 61s) == 1);
  CHECK(breaker.failures(start + 1s) == 2);
  breaker.failure(start + 2s, me);
  CHECK(breaker.failures(start + 2s) == 0);
  CHECK(breaker.retry_after(start + 2s) == 1s);
  CHECK(breaker.retry_after(start + 2s + 300ms) == 700ms);
  CHECK(breaker.retry_after(start) == 1s);  // a clock that goes back
  CHECK(breaker.retry_after(start + 1h) == 0ms);
  CHECK(breaker.state() == open);
  check_allowed(breaker, start + 3s);
  CHECK(breaker.state() == half_open);
  CHECK(breaker.retry_after(start + 3s) == 1s);  // one probe at a time
}

TEST_CASE("it may be forgotten when a new one would do") {
  CircuitBreaker breaker({.probe_timeout = 30s});
  CHECK(breaker.may_be_forgotten(start));
  breaker.failure(start, me);
  CHECK_FALSE(breaker.may_be_forgotten(start + 60s));
  CHECK(breaker.may_be_forgotten(start + 60001ms));
  breaker = opened({.probe_timeout = 30s});
  CHECK_FALSE(breaker.may_be_forgotten(start + 98s));  // window, longest back-off and a probe's time
  CHECK(breaker.may_be_forgotten(start + 98001ms));
  check_allowed(breaker, start + 90s);
  CHECK_FALSE(breaker.may_be_forgotten(start + 98001ms));
  CHECK(breaker.may_be_forgotten(start + 189s));
}

TEST_CASE("states have names") {
  CHECK(to_string(closed) == "closed");
  CHECK(to_string(half_open) == "half_open");
  CHECK(to_string(open) == "open");
}

}  // namespace
}  // namespace kurultai::circuit_breaker_test
