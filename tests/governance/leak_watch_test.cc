#include "governance/leak_watch.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

namespace kurultai::leak_watch_test {
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

const TimePoint start = TimePoint() + hours(5);
constexpr Duration usual = minutes(1);
const Bytes cap = gibibytes(1);

/// What was told of a life, in minutes since its start; -1: never.
struct Told {
  int first = -1;
  int last = -1;
  int times = 0;
  int taken_back = -1;  // when a leak was believed no longer
  LeakVerdict verdict;  // at the end
};

/// MB that are used in a minute of a life; a reading each five seconds.
Told live(int length, const std::function<double(double)>& megabytes, Bytes limit = {}) {
  LeakWatch watch;
  Told told;
  for (int second = 0; second < 60 * length; second += 5) {
    const double minute = second / 60.0;
    const Bytes memory{static_cast<std::int64_t>(megabytes(minute) * 1e6)};
    const bool was_leak = watch.verdict().level != LeakLevel::none;
    const LeakNews news = watch.note(start + seconds(second), usual, memory, limit);
    if (was_leak && watch.verdict().level == LeakLevel::none) told.taken_back = static_cast<int>(minute);
    if (!news.is_worse) continue;
    ++told.times;
    told.last = static_cast<int>(minute);
    if (told.first < 0) told.first = told.last;
  }
  told.verdict = watch.verdict();
  return told;
}

double steps(double minute) { return 100 + 80 * std::floor(std::min(minute, 44.0) / 15); }

}  // namespace

TEST_CASE("a leak is told of once, and again when it gets worse") {
  LeakWatch watch;
  int warnings = 0;
  int criticals = 0;
  for (int i = 0; i < 180; ++i) {  // 60 MB an hour, then 600
    const std::int64_t grown = i < 90 ? i * 1'000'000 : 90'000'000 + (i - 90) * 10'000'000;
    if (!watch.note(start + i * minutes(1), usual, Bytes{50'000'000 + grown}, cap).is_worse) continue;
    CHECK(watch.verdict().shape == LeakShape::growing);
    CHECK(watch.verdict().seconds_to_cap);
    warnings += watch.verdict().level == LeakLevel::warning ? 1 : 0;
    criticals += watch.verdict().level == LeakLevel::critical ? 1 : 0;
  }
  CHECK(warnings == 1);
  CHECK(criticals == 1);
  CHECK(watch.verdict().level == LeakLevel::critical);
}

TEST_CASE("what only warms up, or fills in steps, is never told of") {
  for (const double tau : {2, 4, 7, 10}) {
    CAPTURE(tau);
    const auto warms_up = [tau](double minute) { return 100 + 400 * (1 - std::exp(-minute / tau)); };
    CHECK(live(600, warms_up).times == 0);
  }
  CHECK(live(600, steps).times == 0);
  const auto sawtooth = [](double minute) { return 100 + 30 * std::fmod(minute, 9); };
  CHECK(live(600, sawtooth).times == 0);
  const auto spikes = [](double minute) { return std::fmod(minute, 50) < 2 ? 900.0 : 100.0; };
  CHECK(live(600, spikes).times == 0);
}

TEST_CASE("what warms up for hours is told of, and that is taken back") {
  for (const double tau : {45, 90}) {
    CAPTURE(tau);
    const Told told = live(2000, [tau](double minute) { return 100 + 900 * (1 - std::exp(-minute / tau)); });
    CHECK(told.first >= LeakWatch::fewest_intervals);
    CHECK(told.taken_back > told.last);
    CHECK(told.taken_back < 12 * tau);
    CHECK(told.verdict.level == LeakLevel::none);
    CHECK(leak_growth(told.verdict) == 0);
  }
}

TEST_CASE("a leak of an old process is told of within the hour or two") {
  for (const int flat : {300, 1440, 10'000}) {
    CAPTURE(flat);
    const Told told =
        live(flat + 150, [flat](double minute) { return 100 + 500.0 / 60 * std::max(minute - flat, 0.0); });
    CHECK(told.first > flat + 15);
    CHECK(told.first < flat + 75);
    CHECK(told.verdict.level == LeakLevel::critical);
  }
}

TEST_CASE("a rise to where it was before is no leak, however long it takes") {
  // A night of two hours after each day of ten; all of it is used again each morning, in three hours.
  const auto day = [](double minute) {
    const double hour = std::fmod(minute / 60, 12);
    return 100 + 600 * (hour < 3 ? hour / 3 : hour < 10 ? 1 : 0);
  };
  const Told told = live(5 * 720, day);
  CHECK(told.times <= 1);
  CHECK(told.last < 180);  // the first of its rises looks like a leak
}

TEST_CASE("a leak that would be at its cap first is told of before") {
  const auto fast = [](double minute) { return 100 + 40 * minute; };
  const Told told = live(20, fast, cap);
  CHECK(told.first > 0);
  CHECK(told.first <= 10);
  CHECK(live(20, fast).times == 0);
}

TEST_CASE("what stays as it is is looked at once an interval, and never told of") {
  LeakWatch watch;
  for (int i = 0; i < 3600; ++i)
    CHECK_FALSE(watch.note(start + i * seconds(1), usual, mebibytes(100), cap).is_worse);
  CHECK(watch.verdict().level == LeakLevel::none);
  CHECK(watch.verdict().shape == LeakShape::steady);
}

TEST_CASE("a mark is told of once, when it is reached") {
  LeakWatch watch;
  auto is_told_of = [&watch, minute = 0](int megabytes) mutable {
    return watch.note(start + minutes(++minute), usual, Bytes{megabytes * 1'000'000LL}, cap).is_at_mark;
  };
  CHECK_FALSE(is_told_of(255));
  CHECK(is_told_of(256));
  CHECK(watch.verdict().mark == LeakLevel::warning);
  CHECK_FALSE(is_told_of(400));
  CHECK_FALSE(is_told_of(100));
  CHECK_FALSE(is_told_of(300));
  CHECK(is_told_of(600));
  CHECK(watch.verdict().mark == LeakLevel::critical);
  CHECK_FALSE(is_told_of(700));
}

TEST_CASE("looks are closer while memory grows") {
  // A steep climb: twelve looks take two minutes instead of twelve.
  LeakWatch watch;
  std::optional<int> judged_after;
  for (int second = 0; second < 400 && !judged_after; ++second) {
    const Bytes memory{100'000'000 + second * 200'000};
    watch.note(start + seconds(second), usual, memory, cap);
    if (watch.verdict().shape == LeakShape::growing) judged_after = second;
  }
  REQUIRE(judged_after);
  CHECK(*judged_after <= 60 + 11 * 10);
}

TEST_CASE("a clock that stands still or goes back is borne") {
  LeakWatch watch;
  for (int i = 0; i < 100; ++i)
    CHECK_FALSE(watch.note(start, Duration(0), Bytes{i * 1'000'000}, cap).is_worse);
  CHECK_FALSE(watch.note(start - minutes(5), Duration(0), mebibytes(1), cap).is_worse);
}

TEST_CASE("a sign changes when the opposite was seen for a while, nearly every time") {
  struct Case {
    const char* seen;  // a look a second
    bool holds;        // at the end
  };
  const std::array cases{
      Case{"....", false},        Case{"+++++", false},         Case{"++++++", true},
      Case{"+++.+++++", false},   Case{"+++++.++++", true},     Case{"++++++....", true},
      Case{"++++++.....", true},  Case{"++++++......", false},  Case{"++++++.....+...", false},
      Case{"++++++.+.+.+", true}, Case{"+.+.+.+.+.+.+", false},
  };
  for (const Case& each : cases) {
    CAPTURE(each.seen);
    LastingSign sign;
    for (int second = 0; each.seen[second] != '\0'; ++second) sign.note(second, each.seen[second] == '+', 5);
    CHECK(sign.holds() == each.holds);
  }
}

}  // namespace kurultai::leak_watch_test
