#include "governance/leak_slope.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <random>

namespace kurultai::leak_slope_test {

namespace {

constexpr double mib = 1024.0 * 1024;

/// An hour of readings, one every ten seconds.
LeakSeries series_of(const std::function<double(double)>& bytes_at) {
  LeakSeries series;
  for (int i = 0; i < 360; ++i) series.add(i * 10, bytes_at(i * 10));
  return series;
}

}  // namespace

TEST_CASE("what does not change does not grow, and that is certain") {
  const LeakSlope slope = slope_of(series_of([](double) { return 8 * mib; }).points());
  CHECK(slope.per_hour == 0);
  CHECK(slope.low == 0);
  CHECK(slope.high == 0);
  CHECK(slope.seconds == doctest::Approx(3590));
}

TEST_CASE("steady growth is found within noise, and zero is not in the interval") {
  std::mt19937 engine(7);
  std::uniform_real_distribution<double> noise(0, 0.2 * mib);
  const LeakSlope slope =
      slope_of(series_of([&](double at) { return 8 * mib + 3 * mib * at / 3600 + noise(engine); }).points());
  CHECK(slope.per_hour == doctest::Approx(3 * mib).epsilon(0.1));
  CHECK(slope.low > 2 * mib);
  CHECK(slope.low <= slope.per_hour);
  CHECK(slope.high >= slope.per_hour);
  CHECK(slope.high < 4 * mib);
}

TEST_CASE("noise alone is no growth") {
  std::mt19937 engine(11);
  std::uniform_real_distribution<double> noise(0, 1 * mib);
  const LeakSlope slope = slope_of(series_of([&](double) { return 8 * mib + noise(engine); }).points());
  CHECK(slope.low <= 0);
  CHECK(slope.high >= 0);
}

TEST_CASE("memory that wanders is no evidence of growth where independent readings would be") {
  int certain = 0;
  for (unsigned seed = 0; seed < 100; ++seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<double> step(0, 0.1 * mib);
    double away = 0;
    const LeakSlope slope =
        slope_of(series_of([&](double) { return 8 * mib + (away = 0.9 * away + step(engine)); }).points());
    certain += slope.low > 0 || slope.high < 0 ? 1 : 0;
  }
  MESSAGE("certain in ", certain, " of 100");
  CHECK(certain <= 15);  // 5 is the promise; how much they depend on each other is an estimate itself
}

TEST_CASE("one step does not make a slope") {
  const LeakSlope slope =
      slope_of(series_of([](double at) { return at < 1000 ? 8 * mib : 9 * mib; }).points());
  CHECK(slope.per_hour == 0);
  CHECK(slope.low <= 0);
}

TEST_CASE("fewer than ten points say nothing") {
  LeakSeries series;
  for (int i = 0; i < 9; ++i) series.add(i, i * mib);
  CHECK(slope_of(series.points()).seconds == 0);
  CHECK(slope_of({}).seconds == 0);
  series.add(9, 9 * mib);
  CHECK(slope_of(series.points()).per_hour == doctest::Approx(3600 * mib));
}

}  // namespace kurultai::leak_slope_test
