#include "governance/circuit_breaker.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>

namespace kurultai {
namespace {

using namespace std::chrono_literals;
using enum BreakerState;

const TimePoint start{1h};

// A breaker that was opened by three failures at `start`.
CircuitBreaker opened(BreakerSettings settings = {}) {
  CircuitBreaker breaker(std::move(settings));
  while (breaker.state() != open) breaker.failure(start);
  return breaker;
}

void check_refused(CircuitBreaker& breaker, TimePoint now, Duration retry_after) {
  const auto answer = breaker.acquire(now);
  CHECK_FALSE(answer.allowed);
  CHECK(answer.retry_after == retry_after);
  CHECK_FALSE(answer.change);
}

void check_allowed(CircuitBreaker& breaker, TimePoint now) {
  const auto answer = breaker.acquire(now);
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
      const auto change = breaker.failure(start + at);
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
    breaker.failure(start);
    CHECK_FALSE(breaker.success(start));
  }
  check_allowed(breaker, start);
  CHECK(breaker.failure(start) == BreakerChange{closed, open});
}

TEST_CASE("open it refuses until the back-off is over and says how long") {
  auto breaker = opened();
  check_refused(breaker, start, 1s);
  check_refused(breaker, start + 400ms, 600ms);
  check_refused(breaker, start + 999ms, 1ms);
  check_refused(breaker, start + 1s - 1ns, 1ms);
  const auto answer = breaker.acquire(start + 1s);
  CHECK(answer.allowed);
  CHECK(answer.change == BreakerChange{open, half_open});
}

TEST_CASE("an open one ignores late answers") {
  auto breaker = opened();
  CHECK_FALSE(breaker.failure(start + 900ms));
  CHECK_FALSE(breaker.success(start + 900ms));
  CHECK(breaker.state() == open);
  check_allowed(breaker, start + 1s);
}

TEST_CASE("half-open lets one probe through however many ask") {
  auto breaker = opened();
  check_allowed(breaker, start + 1s);
  for (int i = 0; i < 100; ++i) check_refused(breaker, start + 1s, 1s);
  check_refused(breaker, start + 1999ms, 1ms);
  CHECK_FALSE(breaker.success(start + 1999ms));
  check_allowed(breaker, start + 1999ms);
  check_refused(breaker, start + 1999ms, 1s);
}

TEST_CASE("a probe without an answer is given up after the back-off") {
  auto breaker = opened();
  check_allowed(breaker, start + 1s);
  check_refused(breaker, start + 1999ms, 1ms);
  const auto second = breaker.acquire(start + 2s);
  CHECK(second.allowed);
  CHECK_FALSE(second.change);
  check_refused(breaker, start + 2999ms, 1ms);
  CHECK(breaker.failure(start + 2999ms) == BreakerChange{half_open, open});
  check_refused(breaker, start + 2999ms, 2s);
  check_allowed(breaker, start + 4999ms);
  check_refused(breaker, start + 6998ms, 1ms);
  check_allowed(breaker, start + 6999ms);
}

TEST_CASE("it closes after enough successes in a row, each of a probe") {
  auto breaker = opened();
  check_allowed(breaker, start + 1s);
  CHECK_FALSE(breaker.success(start + 1s));
  CHECK_MESSAGE(!breaker.success(start + 1s), "no probe is under way");
  CHECK_MESSAGE(!breaker.failure(start + 1s), "no probe is under way");
  CHECK(breaker.state() == half_open);
  check_allowed(breaker, start + 1s);
  CHECK(breaker.success(start + 1s) == BreakerChange{half_open, closed});
  check_allowed(breaker, start + 1s);
  CHECK_FALSE(breaker.failure(start + 1s));
  CHECK_FALSE(breaker.failure(start + 1s));
  // Only now: the earlier failures are forgotten.
  CHECK(breaker.failure(start + 1s) == BreakerChange{closed, open});
}

TEST_CASE("a failure between the successes starts their row anew") {
  auto breaker = opened();
  check_allowed(breaker, start + 1s);
  breaker.success(start + 1s);
  check_allowed(breaker, start + 1s);
  CHECK(breaker.failure(start + 1s) == BreakerChange{half_open, open});
  check_allowed(breaker, start + 3s);
  CHECK_FALSE(breaker.success(start + 3s));
  check_allowed(breaker, start + 3s);
  CHECK(breaker.success(start + 3s) == BreakerChange{half_open, closed});
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
    CHECK(breaker.failure(now) == BreakerChange{half_open, open});
  }
  now += 8s;
  for (int i = 0; i < 2; ++i) {
    check_allowed(breaker, now);
    breaker.success(now);
  }
  REQUIRE(breaker.state() == closed);
  for (int i = 0; i < 3; ++i) breaker.failure(now);
  check_refused(breaker, now, 1s);
}

TEST_CASE("a failing endpoint asked for ten times in a row is attempted fewer than five times") {
  CircuitBreaker breaker{BreakerSettings{}};
  int attempts = 0;
  for (int i = 0; i < 10; ++i) {
    const TimePoint now = start + i * 100ms;
    if (!breaker.acquire(now).allowed) continue;
    ++attempts;
    breaker.failure(now);
  }
  CHECK(attempts == 3);
}

TEST_CASE("the settings count: one failure, one success, one back-off") {
  auto breaker = opened({.failures = 1, .window = 0s, .successes = 1, .backoff = {250ms}});
  check_refused(breaker, start + 249ms, 1ms);
  check_allowed(breaker, start + 250ms);
  breaker.failure(start + 250ms);
  check_refused(breaker, start + 250ms, 250ms);
  check_allowed(breaker, start + 500ms);
  CHECK(breaker.success(start + 500ms) == BreakerChange{half_open, closed});
}

TEST_CASE("settings that make no sense do no harm") {
  CircuitBreaker breaker({.failures = 0, .window = -1s, .successes = -4, .backoff = {}});
  CHECK(breaker.failure(start) == BreakerChange{closed, open});
  check_allowed(breaker, start);
  check_allowed(breaker, start);
  CHECK(breaker.success(start) == BreakerChange{half_open, closed});
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
    auto breaker = opened();
    check_allowed(breaker, start + 1s);
    check_refused(breaker, start, 1s);
    check_allowed(breaker, start + 1s);
  }
  SUBCASE("between failures") {
    CircuitBreaker breaker{BreakerSettings{}};
    breaker.failure(start);
    breaker.failure(start - 10min);
    CHECK_FALSE(breaker.failure(start - 10min + 60001ms));
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
  breaker.failure(start);
  breaker.failure(start + 1s);
  CHECK(breaker.failures(start + 1s) == 2);
  CHECK(breaker.failures(start + 61s) == 1);
  CHECK(breaker.failures(start + 1s) == 2);
  breaker.failure(start + 2s);
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

TEST_CASE("states have names") {
  CHECK(to_string(closed) == "closed");
  CHECK(to_string(half_open) == "half_open");
  CHECK(to_string(open) == "open");
}

}  // namespace
}  // namespace kurultai
