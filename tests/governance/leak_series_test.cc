#include "governance/leak_series.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace kurultai::leak_series_test {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinite = std::numeric_limits<double>::infinity();

TEST_CASE("a series keeps every reading while there is room, and its extremes when there is none") {
  LeakSeries series;
  for (int i = 0; i < 120; ++i) CHECK(series.add(i, 1000 + i));
  CHECK(series.points().size() == 120);
  CHECK(series.add(120, 7));
  CHECK(series.points().size() == 61);
  CHECK(series.points()[0].least == 1000);
  CHECK(series.points()[0].most == 1001);
  CHECK(series.points()[0].last == 1);
  CHECK(series.points()[60].least == 7);
  CHECK(series.readings() == 121);
  CHECK(series.seconds() == 120);
}

TEST_CASE("a million readings take the room of 120") {
  LeakSeries series;
  for (int i = 0; i < 1'000'000; ++i) series.add(i * 0.1, i);
  CHECK(series.points().size() <= LeakSeries::most_points);
  CHECK(series.points().size() > LeakSeries::most_points / 2);
  CHECK(series.readings() == 1'000'000);
  CHECK(series.latest() == 999'999);
  CHECK(series.points()[0].least == 0);
  CHECK(series.points()[0].last < series.points()[1].first);
}

TEST_CASE("what is older than the longest time is forgotten") {
  LeakSeries series(50);
  for (int i = 0; i < 1000; ++i) {
    series.add(i, i);
    REQUIRE(series.points().front().last >= i - 50);
    REQUIRE(series.points().front().first >= i - 50 - 16);  // no point stands for more
  }
  CHECK(series.seconds() == 50);
  LeakSeries dense(50);
  for (int i = 0; i < 10'000; ++i) dense.add(i * 0.1, i);
  CHECK(dense.points().size() > LeakSeries::most_points / 2);
  CHECK(dense.seconds() >= 50);
  CHECK(dense.seconds() < 51);
  CHECK(dense.add(1800, 7));
  CHECK(dense.points().size() == 1);
  CHECK(dense.seconds() == 0);
}

TEST_CASE("what is no reading is left out") {
  LeakSeries series;
  CHECK(series.seconds() == 0);
  CHECK(series.latest() == 0);
  for (const double bad : {nan, infinite, -infinite, 1e300}) {
    CHECK_FALSE(series.add(bad, 1));
    CHECK_FALSE(series.add(1, bad));
  }
  CHECK_FALSE(series.add(1, -1));
  CHECK(series.points().empty());
  CHECK(series.add(1, 5));
  CHECK_FALSE(series.add(1, 6));
  CHECK(series.latest() == 5);
}

TEST_CASE("a clock that jumps moves nothing") {
  for (const double jump : {-1e6, 1e6}) {
    CAPTURE(jump);
    LeakSeries series;
    for (int i = 0; i < 50; ++i) series.add(i, 1);
    for (int i = 50; i < 100; ++i) series.add(i + jump, 1);
    CHECK(series.seconds() == doctest::Approx(99));
  }
}

TEST_CASE("a sampler that pauses is believed") {
  LeakSeries series;
  for (int i = 0; i < 50; ++i) series.add(i, 1);
  series.add(95, 1);
  CHECK(series.seconds() == 95);
}

TEST_CASE("of two readings any distance may be the usual one") {
  LeakSeries series;
  series.add(0, 1);
  series.add(3600, 1);
  CHECK(series.seconds() == 3600);
}

}  // namespace
}  // namespace kurultai::leak_series_test
