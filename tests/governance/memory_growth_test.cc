#include "governance/memory_growth.h"

#include <doctest/doctest.h>

#include <limits>

namespace kurultai::memory_growth_test {
namespace {

TEST_CASE("a cap grows by its factor, in whole mebibytes, up to what fits") {
  const struct {
    double cap_mib, factor;
    int deaths;
    double most_mib, next_mib;  // 0: none
  } table[] = {{64, 1.5, 1, 1024, 96}, {96, 1.5, 2, 1024, 144},  {144, 1.5, 3, 1024, 0},
               {144, 1.5, 4, 1024, 0}, {64, 1, 1, 1024, 0},      {64, 0.5, 1, 1024, 0},
               {65, 1.5, 1, 1024, 97}, {64.5, 1.5, 1, 1024, 96}, {64, 1.001, 1, 1024, 65},
               {1, 1.5, 1, 1024, 2},   {64, 1.5, 1, 80, 80},     {64, 1.5, 1, 80.9, 80},
               {64, 1.5, 1, 65, 65},   {64, 1.5, 1, 64.9, 0},    {64, 1.5, 1, 64, 0},
               {64, 1.5, 1, 10, 0},    {64, 1.5, 1, 0, 0},       {64, 1e300, 1, 500, 500}};
  const auto mib = [](double count) { return Bytes{static_cast<std::int64_t>(count * 1024 * 1024)}; };
  for (const auto& row : table) {
    CAPTURE(row.cap_mib);
    CAPTURE(row.factor);
    CAPTURE(row.most_mib);
    const auto next = grown_cap(mib(row.cap_mib), row.deaths, {row.factor, 3, mib(row.most_mib)});
    CHECK(next.value_or(Bytes{}) == mib(row.next_mib));
  }
}

TEST_CASE("no cap is too large for it") {
  const Bytes all{std::numeric_limits<std::int64_t>::max()};
  CHECK_FALSE(grown_cap(all - mebibytes(1), 1, {16, 3, all}) > all);
  CHECK(grown_cap(gibibytes(1 << 20), 1, {16, 3, gibibytes(1 << 21)}) == gibibytes(1 << 21));
}

TEST_CASE("it has an attempt budget of its own") {
  for (int most = 1; most <= 5; ++most) {
    int attempts = 1;
    Bytes cap = mebibytes(10);
    while (const auto next = grown_cap(cap, attempts, {2, most, gibibytes(100)})) {
      CHECK(*next == cap + cap);
      cap = *next;
      ++attempts;
    }
    CHECK(attempts == most);
  }
}

}  // namespace
}  // namespace kurultai::memory_growth_test
