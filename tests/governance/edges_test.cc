#include "governance/edges.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace kurultai::edges_test {
namespace {

using namespace std::chrono_literals;

constexpr Bytes page = kibibytes(4);
constexpr Bytes byte{1};
constexpr Bytes unlimited{std::numeric_limits<std::int64_t>::max()};

Bytes page_of(Bytes bytes) { return {bytes.count / page.count * page.count}; }

Holder quiet(Bytes charge, Bytes cap) { return {charge, cap, false}; }
Holder growing(Bytes charge, Bytes cap) { return {charge, cap, true}; }

Bytes sum(const std::vector<Bytes>& parts) { return std::accumulate(parts.begin(), parts.end(), Bytes{}); }

struct Case {
  Bytes total;
  std::vector<Holder> holders;

  Bytes charges() const {
    return std::accumulate(holders.begin(), holders.end(), Bytes{},
                           [](Bytes all, const Holder& holder) { return all + holder.charge; });
  }
  bool all_caps_fit() const {
    Bytes rest = total - charges();
    for (const Holder& holder : holders) {
      const Bytes room = std::max(holder.cap - holder.charge, Bytes{});
      if (room > std::max(rest, Bytes{})) return false;
      rest -= room;
    }
    return true;
  }
};

// Charges of whole pages, as kernels count; caps as people write them. Some just above and just below what
// fits, some with a total that is used up, nothing, or negative.
Case random_case(std::mt19937& random) {
  const auto below = [&](std::int64_t n) {
    return std::uniform_int_distribution<std::int64_t>(0, n - 1)(random);
  };
  Case it;
  const std::int64_t most_pages = std::int64_t{1} << (1 + below(18));
  Bytes caps;
  for (std::int64_t i = below(25); i > 0; --i) {
    const Bytes charge{below(4) == 0 ? 0 : below(most_pages) * page.count};
    Bytes cap = charge + Bytes{below(most_pages * page.count)};
    if (below(10) == 0) cap = Bytes{below(charge.count + 1)};
    caps += std::max(cap, charge);
    it.holders.push_back({charge, cap, below(3) == 0});
    if (below(60) == 0) it.holders.back().cap = unlimited;
  }
  switch (below(6)) {
    case 0:
      it.total = caps;
      break;
    case 1:
      it.total = caps - Bytes{below(2 * page.count)};
      break;
    case 2:
      it.total = it.charges() + Bytes{below(20 * page.count)};
      break;
    case 3:
      it.total = Bytes{it.charges().count / (1 + below(3))} - Bytes{below(2 * page.count)};
      break;
    case 4:
      it.total = Bytes{} - Bytes{below(gibibytes(64).count)};
      break;
    default:
      it.total = Bytes{below(2 * caps.count + 1)};
      break;
  }
  return it;
}

TEST_CASE("whatever the charges, caps and total, the edges hold what they promise") {
  std::mt19937 random(20260401);
  for (int round = 0; round < 10'000; ++round) {
    const Case it = random_case(random);
    CAPTURE(round);
    CAPTURE(it.total.count);
    const std::vector<Bytes> edges = share_out(it.total, it.holders);
    REQUIRE(edges.size() == it.holders.size());
    const Bytes charges = it.charges();
    const Bytes rest = std::max(it.total - charges, Bytes{});
    const auto quiet_ones = std::ranges::count(it.holders, false, &Holder::growing);
    const Bytes even{rest.count / std::max<std::int64_t>(quiet_ones, 1)};
    const Bytes first = std::min({quiet_slack(it.total, it.holders.size()), least_slack, even});
    const bool all_fit = it.all_caps_fit();
    REQUIRE(sum(edges) <= std::max(it.total, charges));
    for (std::size_t i = 0; i < edges.size(); ++i) {
      const Holder& holder = it.holders[i];
      const Bytes most = std::max(holder.cap, holder.charge);
      CAPTURE(holder.charge.count);
      CAPTURE(holder.cap.count);
      REQUIRE(edges[i] <= most);
      REQUIRE(edges[i] >= page_of(holder.charge));
      REQUIRE((edges[i] == most || edges[i].count % page.count == 0));
      if (!holder.growing) REQUIRE(edges[i] >= page_of(std::min(holder.charge + first, most)));
      if (all_fit) REQUIRE(edges[i] == most);
      if (rest == Bytes{}) REQUIRE(edges[i] == holder.charge);
    }
  }
}

TEST_CASE("what a growing one gets is not less than what a quiet one gets, once quiet ones have enough") {
  std::mt19937 random(20260402);
  for (int round = 0; round < 10'000; ++round) {
    const Case it = random_case(random);
    CAPTURE(round);
    const Bytes enough{quiet_slack(it.total, it.holders.size()).count * std::ssize(it.holders)};
    if (it.total - it.charges() < enough) continue;
    const std::vector<Bytes> edges = share_out(it.total, it.holders);
    for (std::size_t i = 0; i < edges.size(); ++i) {
      if (!it.holders[i].growing || edges[i] >= it.holders[i].cap) continue;
      for (std::size_t j = 0; j < edges.size(); ++j) {
        if (it.holders[j].growing) continue;
        REQUIRE(edges[i] - it.holders[i].charge + page > edges[j] - it.holders[j].charge);
      }
    }
  }
}

TEST_CASE("little is left unshared while someone has room for it") {
  std::mt19937 random(20260403);
  for (int round = 0; round < 10'000; ++round) {
    const Case it = random_case(random);
    CAPTURE(round);
    if (it.charges() >= it.total || it.all_caps_fit()) continue;
    const Bytes unshared = it.total - sum(share_out(it.total, it.holders));
    // A page each by rounding, and what does not divide by the sum of the weights.
    REQUIRE(unshared.count <= std::ssize(it.holders) * (page.count + 8));
  }
}

TEST_CASE("nobody, one, and no room") {
  CHECK(share_out(gibibytes(1), {}).empty());
  CHECK(share_out({}, {}).empty());
  const struct {
    Bytes total;
    Holder holder;
    Bytes edge;
  } table[] = {
      {gibibytes(1), quiet({}, mebibytes(256)), mebibytes(256)},
      {gibibytes(1), growing({}, mebibytes(256)), mebibytes(256)},
      {gibibytes(1), quiet({}, {}), {}},
      {gibibytes(1), quiet(mebibytes(3), {}), mebibytes(3)},
      {gibibytes(1), growing(mebibytes(300), mebibytes(256)), mebibytes(300)},
      {gibibytes(1), growing({}, gibibytes(1)), gibibytes(1)},
      {gibibytes(1), growing(mebibytes(1), gibibytes(1) + byte), gibibytes(1)},
      {gibibytes(1), quiet({}, unlimited), gibibytes(1)},
      {{}, quiet({}, mebibytes(256)), {}},
      {{}, growing(mebibytes(5), mebibytes(256)), mebibytes(5)},
      {Bytes{} - gibibytes(1), growing(mebibytes(5), mebibytes(256)), mebibytes(5)},
      {Bytes{} - gibibytes(1), quiet({}, mebibytes(256)), {}},
      {Bytes{} - gibibytes(1), quiet({}, {}), {}},
      {mebibytes(64), growing(mebibytes(64), mebibytes(256)), mebibytes(64)},
      {mebibytes(64), growing(mebibytes(64) - byte, mebibytes(256)), mebibytes(64)},
  };
  for (const auto& row : table) {
    CAPTURE(row.total.count);
    CAPTURE(row.holder.charge.count);
    const Holder holders[] = {row.holder};
    CHECK(share_out(row.total, holders) == std::vector{row.edge});
  }
}

TEST_CASE("a cap that is no whole number of pages is reached, or its worker would wait just below it") {
  const Holder holders[] = {growing(mebibytes(10), {100'000'000}), quiet({}, {1})};
  CHECK(share_out(gibibytes(1), holders) == std::vector<Bytes>{{100'000'000}, {1}});
  CHECK_FALSE(needs_new_edge({99'999'744}, {100'000'000}, mebibytes(10), {100'000'000}));
}

TEST_CASE("caps that fit exactly are reached whatever does not divide by the weights") {
  std::vector<Holder> holders(3, quiet({}, mebibytes(256) + page));
  holders[0].growing = true;
  const std::vector<Bytes> caps(3, mebibytes(256) + page);
  CHECK(share_out(mebibytes(768) + page + page + page, holders) == caps);
  CHECK(share_out(mebibytes(768) + page + page, holders) != caps);
}

TEST_CASE("a growing one gets eight parts of the rest for every one of a quiet one") {
  const Holder holders[] = {growing({}, gibibytes(9)), quiet({}, gibibytes(9)), quiet({}, gibibytes(9))};
  const auto edges = share_out(mebibytes(1024), holders);
  CHECK(edges == std::vector<Bytes>{mebibytes(808), mebibytes(108), mebibytes(108)});
}

TEST_CASE("what one has no room for goes to the others, in the same proportion") {
  const Holder holders[] = {growing({}, mebibytes(58)), quiet({}, gibibytes(9)), growing({}, gibibytes(9))};
  const auto edges = share_out(mebibytes(1024), holders);
  CHECK(edges[0] == mebibytes(58));
  CHECK(edges[1] == page_of(mebibytes(8) + Bytes{mebibytes(1024 - 58 - 16).count / 9}));
  CHECK(edges[2] == page_of(mebibytes(8) + Bytes{mebibytes(1024 - 58 - 16).count / 9 * 8}));
}

TEST_CASE("near the end of the budget everyone who does not grow still has something to fork with") {
  std::vector<Holder> holders(10, quiet(mebibytes(100), mebibytes(512)));
  holders[3].growing = true;
  std::vector<Bytes> edges(10, mebibytes(101));
  edges[3] = mebibytes(100);
  CHECK(share_out(mebibytes(1009), holders) == edges);
  for (const Bytes& edge : share_out(mebibytes(1000), holders)) CHECK(edge == mebibytes(100));
  for (const Bytes& edge : share_out(mebibytes(900), holders)) CHECK(edge == mebibytes(100));
}

TEST_CASE("quiet slack is a sixteenth of all together, and 8 MiB each at most") {
  CHECK(quiet_slack(gibibytes(64), 3) == mebibytes(8));
  CHECK(quiet_slack(gibibytes(1), 8) == mebibytes(8));
  CHECK(quiet_slack(gibibytes(1), 16) == mebibytes(4));
  CHECK(quiet_slack(gibibytes(1), 0) == mebibytes(8));
  CHECK(quiet_slack(mebibytes(16), 1) == mebibytes(1));
  CHECK(quiet_slack({}, 4) == Bytes{});
  CHECK(quiet_slack(Bytes{} - gibibytes(1), 4) == Bytes{});
}

TEST_CASE("a new edge is needed when less than half of the slack is left, and less than 64 MiB") {
  const Bytes edge = mebibytes(500);
  const Bytes cap = gibibytes(1);
  const struct {
    Bytes left;
    Bytes given;
    bool needed;
  } table[] = {
      {mebibytes(10) + byte, mebibytes(20), false},
      {mebibytes(10), mebibytes(20), true},
      {mebibytes(10), mebibytes(21), true},
      {mebibytes(10), mebibytes(10), false},
      {mebibytes(64), mebibytes(400), false},
      {mebibytes(64) - byte, mebibytes(400), true},
      {mebibytes(64) - byte, mebibytes(127), false},
      {{}, mebibytes(1), true},
      {{-1}, mebibytes(1), true},
      {{-1}, {}, true},
      {{}, {}, true},
  };
  for (const auto& row : table) {
    CAPTURE(row.left.count);
    CAPTURE(row.given.count);
    CHECK(needs_new_edge(edge - row.left, edge, row.given, cap) == row.needed);
    CHECK_FALSE(needs_new_edge(edge - row.left, edge, row.given, edge));
    CHECK_FALSE(needs_new_edge(edge - row.left, edge, row.given, edge - byte));
    CHECK(needs_new_edge(edge - row.left, edge, row.given, edge + byte) == row.needed);
  }
}

TEST_CASE("the next look comes before half of the nearest slack can be gone, within 5 and 250 ms") {
  const struct {
    Bytes slack;
    Duration in;
  } table[] = {
      {{-1}, 5ms},
      {{}, 5ms},
      {{20'000'000}, 5ms},
      {{24'000'000}, 6ms},
      {{23'999'999}, 5ms},
      {{400'000'000}, 100ms},
      {{1'000'000'000}, 250ms},
      {{1'004'000'000}, 250ms},
      {unlimited, 250ms},
  };
  for (const auto& row : table) {
    CAPTURE(row.slack.count);
    CHECK(next_look_in(row.slack) == row.in);
  }
}

// The time of this is only told: it depends on the machine.
TEST_CASE("small remains are left where they are, unless a growing one needs them") {
  const auto mib = [](std::vector<std::int64_t> sizes) {
    std::vector<Bytes> bytes;
    std::ranges::transform(sizes, std::back_inserter(bytes), mebibytes);
    return bytes;
  };
  const std::vector<Holder> holders = {{{}, {}, false}, {{}, {}, false}, {{}, {}, true}, {{}, {}, false}};
  using Places = std::vector<std::size_t>;
  const auto now = mib({50, 50, 100, 50});
  CHECK(givers(holders, now, mib({49, 49, 102, 50}), {}, mebibytes(1)) == Places{0, 1});
  CHECK(givers(holders, now, mib({49, 49, 102, 50}), mebibytes(2), mebibytes(1)).empty());
  CHECK(givers(holders, now, mib({49, 49, 100, 52}), {}, mebibytes(1)).empty());
  CHECK(givers(holders, now, mib({49, 30, 102, 50}), {}, mebibytes(1)) == Places{1});
  CHECK(givers(holders, now, mib({49, 49, 100, 52}), {}, {}) == Places{0, 1});
}

TEST_CASE(
    "whoever grows to its cap among many idle ones gets there, however much all of them keep for noise") {
  std::vector<Holder> holders(12, Holder{mebibytes(2), mebibytes(400), false});
  const Bytes total = mebibytes(700);
  holders[0] = {mebibytes(1), mebibytes(400), true};
  std::vector<Bytes> now = share_out(total, holders);
  for (Bytes& charge = holders[0].charge; charge < mebibytes(400); charge += kibibytes(512)) {
    CAPTURE(to_string(charge));
    const auto wanted = share_out(total, holders);
    Bytes unheld = total;
    for (const Bytes edge : now) unheld -= edge;
    for (const std::size_t i : givers(holders, now, wanted, unheld, mebibytes(1))) {
      unheld += now[i] - wanted[i];
      now[i] = wanted[i];
    }
    const Bytes raise = std::min(std::max(wanted[0] - now[0], Bytes{}), unheld);
    now[0] += raise;
    REQUIRE(now[0] > charge);
    CHECK(now[0] >= wanted[0]);
  }
}

TEST_CASE("a thousand holders of which each falls out of the sharing by itself are still shared out") {
  Case it;
  for (int i = 0; i < 1000; ++i) {
    it.holders.push_back(quiet(page, page + kibibytes(4 * (1000 - i))));
    it.holders.back().growing = i % 3 == 0;
    it.total += it.holders.back().cap;
  }
  it.total -= mebibytes(100);
  const auto began = std::chrono::steady_clock::now();
  const std::vector<Bytes> edges = share_out(it.total, it.holders);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
  MESSAGE("1000 holders in " << took.count() << " us");
  CHECK(sum(edges) <= it.total);
  CHECK(sum(edges) + kibibytes(5000) > it.total);
}

}  // namespace
}  // namespace kurultai::edges_test
