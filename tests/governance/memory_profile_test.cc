#include "governance/memory_profile.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace kurultai::memory_profile_test {
namespace {

using namespace std::chrono_literals;

TEST_CASE("each column has the most of its time, and what was before it where nothing was read") {
  MemoryProfile profile;
  CHECK(profile.columns(2) == std::vector<Bytes>(2));
  profile.note(TimePoint{0ms}, {10});
  profile.note(TimePoint{1ms}, {30});
  profile.note(TimePoint{1ms}, {20});
  profile.note(TimePoint{7ms}, {5});
  CHECK(profile.columns(4) == std::vector<Bytes>{{30}, {30}, {30}, {5}});
  CHECK(profile.length() == 7ms);
}

TEST_CASE("however long it takes, a spike is there and room is bounded") {
  MemoryProfile profile;
  const auto day = std::chrono::hours(24);
  for (int minute = 0; minute <= 24 * 60; ++minute)
    profile.note(TimePoint{std::chrono::minutes(minute)}, {minute == 720 ? 1000 : 1});
  CHECK(profile.length() == day);
  for (const std::size_t width : {1, 2, 72, 5000}) {
    const auto columns = profile.columns(width);
    REQUIRE(columns.size() == width);
    CHECK(std::ranges::max(columns) == Bytes{1000});
    const auto spike = std::ranges::find(columns, Bytes{1000}) - columns.begin();
    CHECK(std::abs(static_cast<double>(spike) / static_cast<double>(width) - 0.5) <= 0.51);
  }
}

}  // namespace
}  // namespace kurultai::memory_profile_test
