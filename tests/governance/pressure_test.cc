#include "governance/pressure.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

namespace kurultai::pressure_test {
namespace {

// "+preempt -kill": what a reading crossed, in order.
std::string crossed(Pressure& pressure, double ratio) {
  std::string text;
  for (const Crossing& crossing : pressure.update(ratio)) {
    CHECK(crossing.ratio == ratio);
    if (!text.empty()) text += ' ';
    text += crossing.direction == Direction::up ? '+' : '-';
    text += to_string(crossing.threshold);
  }
  return text;
}

constexpr double just_below(double x) { return x - 1e-9; }
constexpr double just_above(double x) { return x + 1e-9; }

TEST_CASE("each threshold fires at or above its ratio and clears at or below ratio less hysteresis") {
  const Thresholds thresholds;
  for (std::size_t i = 0; i < threshold_count; ++i) {
    const double line = thresholds.ratio[i];
    const double clear = line - thresholds.hysteresis;
    const auto threshold = static_cast<Threshold>(i);
    const struct {
      double before;
      double reading;
      bool over;
    } table[] = {
        {0.0, just_below(line), false},
        {0.0, line, true},
        {0.0, just_above(line), true},
        {1.0, line, true},
        {1.0, just_below(line), true},
        {1.0, just_above(clear), true},
        {1.0, clear, false},
        {1.0, just_below(clear), false},
        {clear, just_below(line), false},
    };
    for (const auto& row : table) {
      CAPTURE(row.before);
      CAPTURE(row.reading);
      Pressure pressure(thresholds);
      pressure.update(row.before);
      pressure.update(row.reading);
      CHECK(pressure.is_over(threshold) == row.over);
      CHECK(pressure.ratio() == row.reading);
    }
  }
}

TEST_CASE("the lines hold to the byte") {
  const struct {
    Bytes budget;
    Bytes fires;   // the smallest use that fires skip_heartbeats
    Bytes clears;  // the largest that clears it again
  } table[] = {
      {{1000}, {700}, {600}},
      {{10}, {7}, {6}},
      {{1'000'000'000'000}, {700'000'000'000}, {600'000'000'000}},
      {gibibytes(1), {751'619'277}, {644'245'094}},
      {mebibytes(512), {375'809'639}, {322'122'547}},
  };
  for (const auto& row : table) {
    CAPTURE(row.budget.count);
    Pressure pressure{Thresholds{}};
    CHECK(crossed(pressure, ratio_of(row.fires - Bytes{1}, row.budget)).empty());
    CHECK(crossed(pressure, ratio_of(row.fires, row.budget)) == "+skip_heartbeats");
    CHECK(crossed(pressure, ratio_of(row.clears + Bytes{1}, row.budget)).empty());
    CHECK(crossed(pressure, ratio_of(row.clears, row.budget)) == "-skip_heartbeats");
  }
}

TEST_CASE("every clear line is exact although ratio less hysteresis is rounded") {
  for (int percent = 20; percent <= 100; ++percent) {
    CAPTURE(percent);
    Thresholds thresholds{.ratio = {percent / 100.0, 2, 2, 2}, .hysteresis = 0.10};
    Pressure pressure(thresholds);
    CHECK(crossed(pressure, percent / 100.0) == "+skip_heartbeats");
    CHECK(crossed(pressure, (percent - 10) / 100.0) == "-skip_heartbeats");
  }
}

TEST_CASE("a reading that trembles on the line acts once, and again only after it cleared") {
  Pressure pressure{Thresholds{}};
  CHECK(crossed(pressure, 0.85) == "+skip_heartbeats +preempt");
  for (int i = 0; i < 100; ++i) CHECK(crossed(pressure, i % 2 == 0 ? 0.8499 : 0.8501).empty());
  CHECK(crossed(pressure, 0.76).empty());
  CHECK(crossed(pressure, 0.75) == "-preempt");
  CHECK(crossed(pressure, 0.84).empty());
  CHECK(crossed(pressure, 0.86) == "+preempt");
}

TEST_CASE("crossings come in order: upwards from the lowest, downwards from the highest") {
  Pressure pressure{Thresholds{}};
  CHECK(pressure.level() == 0);
  CHECK(crossed(pressure, 2.0) == "+skip_heartbeats +preempt +reject +kill");
  CHECK(pressure.level() == 4);
  CHECK(crossed(pressure, 0.80) == "-kill -reject");
  CHECK(pressure.level() == 2);
  CHECK(crossed(pressure, 0.95) == "+reject +kill");
  CHECK(crossed(pressure, 0.0) == "-kill -reject -preempt -skip_heartbeats");
  CHECK(pressure.level() == 0);
}

TEST_CASE("without hysteresis a threshold is over exactly at and above its ratio") {
  Pressure pressure(Thresholds{.ratio = {0.70, 0.85, 0.90, 0.95}, .hysteresis = 0});
  CHECK(crossed(pressure, 0.70) == "+skip_heartbeats");
  CHECK(crossed(pressure, 0.70).empty());
  CHECK(crossed(pressure, std::nextafter(0.70, 0.0)) == "-skip_heartbeats");
}

TEST_CASE("a hysteresis wider than the threshold clears at nothing used") {
  Pressure pressure(Thresholds{.ratio = {0.05, 0.85, 0.90, 0.95}, .hysteresis = 0.10});
  CHECK(crossed(pressure, 0.05) == "+skip_heartbeats");
  CHECK(crossed(pressure, 0.001).empty());
  CHECK(crossed(pressure, 0.0) == "-skip_heartbeats");
}

TEST_CASE("new thresholds take effect with the next reading and forget nothing") {
  Pressure pressure{Thresholds{}};
  pressure.update(0.86);
  pressure.set_thresholds({.ratio = {0.50, 0.60, 0.95, 0.98}, .hysteresis = 0.05});
  CHECK(pressure.is_over(Threshold::preempt));
  CHECK(crossed(pressure, 0.86).empty());
  CHECK(crossed(pressure, 0.55) == "-preempt");
  pressure.set_thresholds(Thresholds{});
  CHECK(crossed(pressure, 0.59) == "-skip_heartbeats");
}

TEST_CASE("a reading that is not a number changes nothing") {
  Pressure pressure{Thresholds{}};
  pressure.update(0.86);
  CHECK(pressure.update(std::numeric_limits<double>::quiet_NaN()).empty());
  CHECK(pressure.level() == 2);
  CHECK(pressure.ratio() == 0.86);
  CHECK(crossed(pressure, std::numeric_limits<double>::infinity()) == "+reject +kill");
  CHECK(crossed(pressure, -1).starts_with("-kill"));
}

TEST_CASE("the ratio is a number whatever the budget") {
  CHECK(ratio_of({50}, {100}) == 0.5);
  CHECK(ratio_of({150}, {100}) == 1.5);
  CHECK(ratio_of({-5}, {100}) == 0);
  CHECK(ratio_of({0}, {0}) == 0);
  CHECK(ratio_of({1}, {0}) == 1);
  CHECK(ratio_of({1}, {-100}) == 1);
}

}  // namespace
}  // namespace kurultai::pressure_test
