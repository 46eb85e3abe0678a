#include "governance/leak_verdict.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "governance/leak_envelope.h"
#include "governance/leak_teeth.h"

namespace kurultai::leak_verdict_test {
namespace {

constexpr double mb = 1e6;
constexpr double base = 50 * mb;

/// A minute at 10 Hz of memory over time.
LeakSeries minute_of(const std::function<double(double)>& bytes_at) {
  LeakSeries series;
  for (int i = 0; i < 600; ++i) series.add(i * 0.1, bytes_at(i * 0.1));
  return series;
}

double ramp(double seconds, double begin, double end, double height) {
  return height * std::clamp((seconds - begin) / (end - begin), 0.0, 1.0);
}

double tooth(double seconds, double period) { return std::fmod(seconds, period) / period; }

TEST_CASE("which shapes are leaks") {
  using Level = LeakLevel;
  using Shape = LeakShape;
  const struct {
    const char* what;
    std::function<double(double)> bytes_at;
    Level level;
    Shape shape;
  } table[] = {
      {"nothing", [](double) { return base; }, Level::none, Shape::steady},
      {"40 MB/h", [](double t) { return base + t * 40 * mb / 3600; }, Level::none, Shape::steady},
      {"60 MB/h", [](double t) { return base + t * 60 * mb / 3600; }, Level::warning, Shape::growing},
      {"120 MB/h", [](double t) { return base + t * 120 * mb / 3600; }, Level::critical, Shape::growing},
      {"a fast one", [](double t) { return base + t * mb; }, Level::critical, Shape::growing},
      {"sawtooth", [](double t) { return base + 20 * mb * tooth(t, 3); }, Level::none, Shape::stepped},
      {"sawtooth above a leak", [](double t) { return base + 20 * mb * tooth(t, 3) + t * 0.2 * mb; },
       Level::critical, Shape::growing},
      {"slow sawtooth, at its height", [](double t) { return base + 20 * mb * tooth(t + 4.9, 26); },
       Level::none, Shape::oscillating},
      {"warm-up", [](double t) { return base + ramp(t, 0, 20, 80 * mb); }, Level::none, Shape::steady},
      {"warm-up and leak", [](double t) { return base + ramp(t, 0, 12, 80 * mb) + t * 0.1 * mb; },
       Level::critical, Shape::growing},
      {"late ramp", [](double t) { return base + ramp(t, 40, 60, 10 * mb); }, Level::critical,
       Shape::growing},
      {"late ramp that stops", [](double t) { return base + ramp(t, 30, 50, 10 * mb); }, Level::none,
       Shape::settled},
      {"spike", [](double t) { return base + (t > 50 && t < 55 ? 90 * mb : 0); }, Level::none, Shape::steady},
      {"spike and leak", [](double t) { return base + (t > 10 && t < 15 ? 90 * mb : 0) + t * 0.1 * mb; },
       Level::critical, Shape::growing},
      {"step", [](double t) { return base + (t > 45 ? 30 * mb : 0); }, Level::none, Shape::settled},
      {"late step", [](double t) { return base + (t > 55 ? 30 * mb : 0); }, Level::none, Shape::stepped},
      {"two steps", [](double t) { return base + (t > 43 ? 30 * mb : 0) + (t > 52 ? 9 * mb : 0); },
       Level::none, Shape::stepped},
      {"stairs", [](double t) { return base + 2 * mb * std::floor(t / 3); }, Level::critical, Shape::growing},
      {"finite keys", [](double t) { return base + 90 * mb * (1 - std::exp(-t / 9)); }, Level::none,
       Shape::fading},
      {"tide", [](double t) { return base + 20 * mb * std::sin((t + 30) / 6.366); }, Level::none,
       Shape::oscillating},
      {"shrinks", [](double t) { return base - t * 0.3 * mb; }, Level::none, Shape::steady},
  };
  for (const auto& row : table) {
    CAPTURE(row.what);
    const LeakVerdict verdict = judge_leak(minute_of(row.bytes_at));
    CHECK(to_string(verdict.level) == to_string(row.level));
    CHECK(to_string(verdict.shape) == to_string(row.shape));
    CHECK(verdict.confidence >= 0.5);
    CHECK(verdict.confidence <= 1);
  }
}

TEST_CASE("the rate, and when the cap will be reached") {
  LeakRules rules;
  const auto series = minute_of([](double t) { return base + t * mb; });
  CHECK_FALSE(judge_leak(series, rules).seconds_to_cap);
  rules.cap = {210'000'000};
  const LeakVerdict verdict = judge_leak(series, rules);
  CHECK(verdict.growth_per_hour == doctest::Approx(3600 * mb).epsilon(0.02));
  REQUIRE(verdict.seconds_to_cap);
  CHECK(*verdict.seconds_to_cap == doctest::Approx(100).epsilon(0.03));
  rules.cap = {60'000'000};
  CHECK(judge_leak(series, rules).seconds_to_cap == 0);
}

TEST_CASE("a clear leak is surer than one in noise, and one far above the rate than one at it") {
  const auto confidence_of = [](double rate, double noise) {
    const LeakSeries series = minute_of([=](double t) { return base + t * rate + noise * tooth(t, 2.3); });
    const LeakVerdict verdict = judge_leak(series);
    CHECK(verdict.shape == LeakShape::growing);
    return verdict.confidence;
  };
  CHECK(confidence_of(0.5 * mb, 0) > 0.9);
  CHECK(confidence_of(0.5 * mb, 0) > confidence_of(0.5 * mb, 30 * mb));
  CHECK(confidence_of(0.5 * mb, 0) > confidence_of(0.016 * mb, 0));
}

TEST_CASE("a mark alone is no leak, and makes a leak critical") {
  const double slow = 60 * mb / 3600;
  const auto at = [slow](double bytes, double rate) {
    return judge_leak(minute_of([=](double t) { return bytes + t * rate * slow; }));
  };
  CHECK(at(600 * mb, 0).level == LeakLevel::none);
  CHECK(at(600 * mb, 0).mark == LeakLevel::critical);
  CHECK(at(600 * mb, 1).level == LeakLevel::critical);
  CHECK(at(300 * mb, 1).level == LeakLevel::warning);
  CHECK(at(300 * mb, 1).mark == LeakLevel::warning);
  CHECK(at(200 * mb, 1).mark == LeakLevel::none);
}

TEST_CASE("too little to judge by") {
  LeakSeries series;
  CHECK(judge_leak(series).shape == LeakShape::too_short);
  series.add(0, base);
  CHECK(judge_leak(series).shape == LeakShape::too_short);
  for (int i = 1; i < 100; ++i) series.add(i * 0.01, base + i * mb);  // a second of it
  const LeakVerdict verdict = judge_leak(series);
  CHECK(verdict.level == LeakLevel::none);
  CHECK(verdict.shape == LeakShape::too_short);
  CHECK(verdict.confidence == 0);
}

TEST_CASE("gaps, missing readings and jumps of the clock do not hide a leak") {
  const auto leak = [](double t) { return base + t * 0.3 * mb; };
  LeakSeries gaps, missing, jumps;
  for (int i = 0; i < 600; ++i) {
    const double t = i * 0.1;
    if (std::fmod(t, 10) < 6) gaps.add(t, leak(t));
    missing.add(t, i % 3 == 0 ? std::nan("") : leak(t));
    jumps.add(t + (i > 200 ? 86400 : 0) - (i > 400 ? 7200 : 0), leak(t));
  }
  for (const auto* series : {&gaps, &missing, &jumps})
    CHECK(judge_leak(*series).level == LeakLevel::critical);
}

TEST_CASE("the rule is the same for a day of readings a minute apart") {
  LeakSeries leak, warm_up;
  for (int minute = 0; minute < 1440; ++minute) {
    const double wave = 5 * mb * std::sin(minute / 7.0);
    leak.add(minute * 60, base + wave + minute * 2 * mb);
    warm_up.add(minute * 60, base + wave + std::min(minute, 400) * 2 * mb);
  }
  CHECK(judge_leak(leak).level == LeakLevel::critical);
  CHECK(judge_leak(leak).growth_per_hour == doctest::Approx(120 * mb).epsilon(0.1));
  CHECK(judge_leak(warm_up).level == LeakLevel::none);
}

TEST_CASE("an envelope is what was never given back") {
  const std::array<LeakPoint, 5> points = {
      {{0, 0, 10, 12}, {1, 1, 40, 90}, {2, 2, 20, 20}, {3, 3, 30, 30}, {4, 4, 25, 31}}};
  const LeakEnvelope envelope(points);
  const std::array<double, 5> kept = {10, 20, 20, 25, 25};
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(envelope.kept_of(i) == kept[i]);
  CHECK(envelope.kept(-1) == 10);
  CHECK(envelope.kept(2.9) == 20);
  CHECK(envelope.kept() == 25);
  CHECK(envelope.rise(1) == 5);
  CHECK(envelope.last(0.5) == 2);
}

TEST_CASE("a tooth is a gradual rise that was given back") {
  const auto largest = [](const std::function<double(double)>& bytes_at) {
    return largest_tooth(minute_of(bytes_at).points(), 5 * mb, 15);
  };
  CHECK(largest_tooth({}, 1, 1) == 0);
  CHECK(largest([](double t) { return t * mb; }) == 0);
  CHECK(largest([](double t) { return 20 * mb * tooth(t, 20); }) > 15 * mb);
  CHECK(largest([](double t) { return 20 * mb * tooth(t, 3); }) == 0);           // too quick
  CHECK(largest([](double t) { return t > 20 && t < 40 ? 20 * mb : 0; }) == 0);  // a spike
  CHECK(largest([](double t) { return 50 * mb + (t < 30 ? t * 0.2 : -20) * mb; }) ==
        0);  // far below its foot
}

}  // namespace
}  // namespace kurultai::leak_verdict_test
