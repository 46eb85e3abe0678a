#include "governance/leak_watch.h"

#include <doctest/doctest.h>

namespace kurultai::leak_watch_test {
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

const TimePoint start = TimePoint() + std::chrono::hours(5);
constexpr Duration usual = minutes(1);
const Bytes cap = gibibytes(1);

}  // namespace

TEST_CASE("a leak is told of once, and again when it gets worse") {
  LeakWatch watch;
  int warnings = 0;
  int criticals = 0;
  for (int i = 0; i < 120; ++i) {  // 60 MB an hour, then 600
    const std::int64_t grown = i < 60 ? i * 1'000'000 : 60'000'000 + (i - 60) * 10'000'000;
    const auto told = watch.note(start + i * minutes(1), usual, Bytes{50'000'000 + grown}, cap);
    if (!told) continue;
    CHECK(told->shape == LeakShape::growing);
    CHECK(told->seconds_to_cap);
    warnings += told->level == LeakLevel::warning ? 1 : 0;
    criticals += told->level == LeakLevel::critical ? 1 : 0;
  }
  CHECK(warnings == 1);
  CHECK(criticals == 1);
  CHECK(watch.verdict().level == LeakLevel::critical);
}

TEST_CASE("what stays as it is is looked at once an interval, and never told of") {
  LeakWatch watch;
  for (int i = 0; i < 3600; ++i) CHECK_FALSE(watch.note(start + i * seconds(1), usual, mebibytes(100), cap));
  CHECK(watch.verdict().level == LeakLevel::none);
  CHECK(watch.verdict().shape == LeakShape::steady);
}

TEST_CASE("looks are closer while memory grows") {
  // A steep climb of two minutes: twelve looks take two of them instead of twelve.
  LeakWatch watch;
  std::optional<int> told_after;
  for (int second = 0; second < 400 && !told_after; ++second) {
    const Bytes memory{100'000'000 + second * 200'000};
    if (watch.note(start + seconds(second), usual, memory, cap)) told_after = second;
  }
  REQUIRE(told_after);
  CHECK(*told_after <= 60 + 11 * 10);
}

TEST_CASE("a clock that stands still or goes back is borne") {
  LeakWatch watch;
  for (int i = 0; i < 100; ++i) CHECK_FALSE(watch.note(start, Duration(0), Bytes{i * 1'000'000}, cap));
  CHECK_FALSE(watch.note(start - minutes(5), Duration(0), mebibytes(1), cap));
}

}  // namespace kurultai::leak_watch_test
