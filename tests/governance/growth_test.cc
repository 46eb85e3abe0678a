#include "governance/growth.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>

namespace kurultai::growth_test {
namespace {

using namespace std::chrono_literals;

const TimePoint start{1h};

/// MiB at so many seconds.
using Shape = std::function<double(double)>;

void feed(GrowthWatch& watch, const Shape& shape, double from, double to, double step = 0.1) {
  for (int i = 0; from + step * i < to; ++i) {
    const double seconds = from + step * i;
    watch.note(start + std::chrono::round<TimePoint::duration>(std::chrono::duration<double>(seconds)),
               Bytes{std::llround(shape(seconds) * (1 << 20))});
  }
}

Growth after(const Shape& shape, double seconds, double step = 0.1) {
  GrowthWatch watch;
  feed(watch, shape, 0, seconds, step);
  return watch.growth();
}

double mib_a_second(const Growth& growth) { return static_cast<double>(growth.per_second.count) / (1 << 20); }

double ramp(double t) { return 100 + 10 * t; }

TEST_CASE("a ramp is known after two seconds, and for as long as it lasts") {
  CHECK(after(ramp, 1.5).lasted == 0ms);
  const struct {
    double seconds;
    Duration least, most;
  } table[] = {{3, 1500ms, 3s}, {6, 3s, 6s},      {12, 6s, 12s},
               {30, 12s, 30s},  {200, 90s, 110s}, {1000, 90s, 110s}};
  for (const auto& row : table) {
    CAPTURE(row.seconds);
    const Growth growth = after(ramp, row.seconds);
    CHECK(mib_a_second(growth) == doctest::Approx(10).epsilon(0.1));
    CHECK(growth.lasted >= row.least);
    CHECK(growth.lasted <= row.most);
  }
}

TEST_CASE("readings may be close together, or far apart") {
  for (const double step : {0.01, 0.1, 0.5, 2.0, 5.0}) {
    CAPTURE(step);
    CHECK(mib_a_second(after(ramp, 60, step)) == doctest::Approx(10).epsilon(0.15));
  }
  CHECK(after(ramp, 600, 61.0).lasted == 0ms);  // so far that nobody knows what was between them
}

TEST_CASE("what is no growth") {
  const struct {
    std::string name;
    Shape shape;
  } table[] = {
      {"nothing", [](double) { return 0.0; }},
      {"level", [](double) { return 300.0; }},
      {"a step", [](double t) { return t < 10 ? 100.0 : 400.0; }},
      {"a step each twenty seconds", [](double t) { return 100 + 90 * std::floor(t / 20); }},
      {"shrinking", [](double t) { return 1000 - 10 * t; }},
      {"a sawtooth of a collector", [](double t) { return 100 + 20 * std::fmod(t, 4.0); }},
      {"its second tooth, however long", [](double t) { return 100 + 5 * std::fmod(t, 24.0); }},
      {"a warm-up that came to rest", [](double t) { return 100 + 20 * std::min(t, 20.0); }},
      {"a spike", [](double t) { return t > 30 && t < 30.3 ? 900.0 : 100.0; }},
      {"noise", [](double t) { return 200 + 50 * std::sin(t * 37) + 50 * std::sin(t * 11); }},
  };
  for (const auto& row : table) {
    CAPTURE(row.name);
    for (const double seconds : {28.0, 31.0, 40.0}) CHECK(after(row.shape, seconds).lasted == 0ms);
  }
}

TEST_CASE("growth that slows down is not promised to bring much more than it does") {
  const struct {
    std::string name;
    Shape shape;
  } table[] = {
      {"fading", [](double t) { return 500 * (1 - std::exp(-t / 4)); }},
      {"slower and slower", [](double t) { return 100 * std::log1p(t); }},
  };
  for (const auto& row : table) {
    CAPTURE(row.name);
    for (double seconds = 1; seconds < 60; seconds += 0.5) {
      const Growth growth = after(row.shape, seconds);
      const double ahead = std::chrono::duration<double>(growth.lasted).count() / 3;
      const double comes = row.shape(seconds + ahead) - row.shape(seconds);
      CHECK(mib_a_second(growth) * ahead <= 2 * comes + 4);
    }
  }
}

TEST_CASE("a warm-up that comes to rest is noticed within a quarter of the time that it took") {
  GrowthWatch watch;
  const Shape shape = [](double t) { return 100 + 20 * std::min(t, 12.0); };
  feed(watch, shape, 0, 12);
  CHECK(watch.growth().lasted > 0ms);
  feed(watch, shape, 12, 15);
  CHECK(watch.growth().lasted == 0ms);
}

TEST_CASE("growth that has come to its end is over within half a second, and stays so") {
  for (const double end : {6.0, 6.1, 6.2, 6.3, 6.37}) {
    for (const double step : {0.01, 0.1}) {
      CAPTURE(end);
      CAPTURE(step);
      GrowthWatch watch;
      const Shape shape = [end](double t) { return ramp(std::min(t, end)); };
      feed(watch, shape, 0, end + 0.6, step);
      for (int i = 0; i < 100; ++i) {
        const double from = end + 0.6 + i * step;
        CHECK(watch.growth().lasted == 0ms);
        feed(watch, shape, from, from + step, step);
      }
    }
  }
}

TEST_CASE("a late ramp is seen however long it was quiet before") {
  const Growth growth = after([](double t) { return 100 + 30 * std::max(0.0, t - 500); }, 508);
  CHECK(mib_a_second(growth) == doctest::Approx(30).epsilon(0.1));
  CHECK(growth.lasted < 8s);
}

TEST_CASE("a leak below small teeth is growth") {
  const Growth growth = after([](double t) { return 100 + 10 * t + std::fmod(t, 0.5); }, 30);
  CHECK(mib_a_second(growth) == doctest::Approx(10).epsilon(0.1));
}

TEST_CASE("a process counted twice in vfork leaves no trace, and says nothing while it is") {
  GrowthWatch watch;
  feed(watch, ramp, 0, 20);
  watch.note(start + 20s, mebibytes(600));
  CHECK(watch.growth().lasted == 0ms);
  watch.note(start + 20100ms, mebibytes(301));
  CHECK(mib_a_second(watch.growth()) == doctest::Approx(10).epsilon(0.1));
  feed(watch, ramp, 20.2, 30);
  CHECK(mib_a_second(watch.growth()) == doctest::Approx(10).epsilon(0.1));
}

TEST_CASE("readings that fall to nothing for a moment leave no trace") {
  const Shape shape = [](double t) { return std::abs(t - 20) < 0.01 ? 0.0 : ramp(t); };
  CHECK(mib_a_second(after(shape, 40)) == doctest::Approx(10).epsilon(0.1));
}

TEST_CASE("a clock that jumps begins anew, and one that stands still does no harm") {
  GrowthWatch watch;
  feed(watch, ramp, 0, 20);
  watch.note(start + 20h, mebibytes(900));
  CHECK(watch.growth().lasted == 0ms);
  watch.note(start, mebibytes(900));
  CHECK(watch.growth().lasted == 0ms);
  for (int i = 0; i < 100; ++i) watch.note(start, mebibytes(900 + i));
  CHECK(watch.growth().lasted == 0ms);
  feed(watch, ramp, 100, 110);
  CHECK(mib_a_second(watch.growth()) == doctest::Approx(10).epsilon(0.1));
}

TEST_CASE("its room is bounded") { CHECK(sizeof(GrowthWatch) < 1024); }

}  // namespace
}  // namespace kurultai::growth_test
