#include "supervisor/health.h"

#include <doctest/doctest.h>

namespace kurultai::health_test {
using std::chrono::seconds;

TEST_CASE("a part is well or in trouble since it became so, whatever the words") {
  Health health;
  const WallTime start{};
  CHECK(health.is_well());
  health.note("journal", "", start);
  health.note("memory", "", start);
  health.note("journal", "", start + seconds(5));
  REQUIRE(health.standings().size() == 2);
  CHECK(health.standings()[0].part == "journal");
  CHECK(health.standings()[0].since == start);

  health.note("journal", "disk full", start + seconds(10));
  health.note("journal", "input/output error", start + seconds(15));
  CHECK_FALSE(health.is_well());
  CHECK(health.standings()[0].trouble == "input/output error");
  CHECK(health.standings()[0].since == start + seconds(10));
  CHECK(health.standings()[1].since == start);

  health.note("journal", "", start + seconds(20));
  CHECK(health.is_well());
  CHECK(health.standings()[0].since == start + seconds(20));
}

}  // namespace kurultai::health_test
