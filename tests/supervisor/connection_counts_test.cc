#include "supervisor/gateway/connection_counts.h"

#include <doctest/doctest.h>

namespace kurultai::connection_counts_test {

using Place = ConnectionCounts::Place;

namespace {

int added(ConnectionCounts& counts, const std::string& peer, ConnectionCounts::Limits limits, Place place) {
  int times = 0;
  while (times < 10'000 && counts.add(peer, limits) == place) times += 1;
  return times;
}

}  // namespace

TEST_CASE("a peer has its share, then its part of the reserve, then nothing") {
  ConnectionCounts counts;
  const ConnectionCounts::Limits limits{100, 30};
  CHECK(added(counts, "a", limits, Place::usual) == 30);
  // The one that was refused at the end of the count is in the reserve already.
  CHECK(added(counts, "a", limits, Place::reserve) == ConnectionCounts::reserve_per_peer - 1);
  CHECK(counts.add("a", limits) == Place::none);
  CHECK(counts.add("b", limits) == Place::usual);
  counts.remove("a", Place::usual);
  CHECK(counts.add("a", limits) == Place::usual);
  CHECK(counts.add("a", limits) == Place::none);
  counts.remove("a", Place::reserve);
  CHECK(counts.add("a", limits) == Place::reserve);
}

TEST_CASE("all together have the limit, and a reserve that no one of them can fill") {
  ConnectionCounts counts;
  const ConnectionCounts::Limits limits{10, 10};
  CHECK(added(counts, "a", limits, Place::usual) == 10);
  CHECK(added(counts, "a", limits, Place::reserve) == ConnectionCounts::reserve_per_peer - 1);
  for (const std::string peer : {"b", "c", "d"}) {
    CHECK(added(counts, peer, limits, Place::reserve) == ConnectionCounts::reserve_per_peer);
  }
  CHECK(counts.add("e", limits) == Place::none);
  for (int i = 0; i < 10; ++i) counts.remove("a", Place::usual);
  CHECK(counts.add("e", limits) == Place::usual);
  // A limit that was lowered lets nobody in, and throws nobody out.
  CHECK(counts.add("e", {1, 10}) == Place::none);
}

}  // namespace kurultai::connection_counts_test
