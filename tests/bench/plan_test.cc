#include "tools/bench/trials/plan.h"

#include <doctest/doctest.h>

#include <numeric>

namespace kurultai::plan_test {
using namespace kurultai::bench;

TEST_CASE("in every round all holders fit under the preempt threshold, and not with the grower") {
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const Plan plan = make_plan(seed, 8, mebibytes(768));
    const int held = std::accumulate(plan.holders.begin(), plan.holders.end(), 0,
                                     [](int sum, const Part& part) { return sum + part.mib; });
    CHECK(held < 768 * 0.7);
    CHECK(held + plan.grower.mib + 12 + 9 * 2 > 768 * 0.85);
  }
}

TEST_CASE("the same seed gives the same round, another one another") {
  const Plan plan = make_plan(7, 8, mebibytes(768));
  CHECK(make_plan(7, 8, mebibytes(768)).grower.mib == plan.grower.mib);
  CHECK(make_plan(8, 8, mebibytes(768)).grower.mib != plan.grower.mib);
  CHECK(plan.holders.size() == 8);
}

TEST_CASE("most growers are HIGH, and some are not") {
  int high = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed)
    high += make_plan(seed, 8, mebibytes(768)).grower.priority == Priority::high ? 1 : 0;
  CHECK(high > 600);
  CHECK(high < 800);
}

}  // namespace kurultai::plan_test
