#include "governance/outbox.h"

#include <doctest/doctest.h>

#include <string>

namespace kurultai::outbox_test {
namespace {

using namespace std::chrono_literals;
using enum Outbox::Outcome;

const TimePoint start{1h};

Outbox an_outbox(Bytes buffer = kibibytes(4), bool breaks = true) { return {buffer, {}, breaks}; }

std::string joined(const std::optional<Outbox::Batch>& batch) {
  if (!batch) return "none";
  std::string all;
  for (const std::string& event : batch->events) all += event;
  return all;
}

TEST_CASE("events are sent in order, what comes meanwhile in the next batch") {
  Outbox outbox = an_outbox();
  CHECK(joined(outbox.take(start)) == "none");
  outbox.push("a");
  CHECK(joined(outbox.take(start)) == "a");
  outbox.push("b");
  outbox.push("c");
  CHECK(joined(outbox.take(start)) == "none");  // one is on its way
  CHECK_FALSE(outbox.done(delivered, start));
  CHECK(joined(outbox.take(start)) == "bc");
  CHECK_FALSE(outbox.is_empty());
  outbox.done(delivered, start);
  CHECK(outbox.is_empty());
  CHECK(outbox.held().count == 0);
  CHECK(outbox.counts().delivered == 3);
  CHECK(outbox.counts().attempts == 2);
}

TEST_CASE("what failed is sent again, after a pause, before all that came later") {
  Outbox outbox = an_outbox();
  outbox.push("a");
  outbox.push("b");
  REQUIRE(joined(outbox.take(start)) == "ab");
  outbox.push("c");
  outbox.done(failed, start);
  CHECK(outbox.is_failing());
  CHECK(outbox.wait(start) == Outbox::pause);
  CHECK(joined(outbox.take(start + Outbox::pause - 1ms)) == "none");
  CHECK(joined(outbox.take(start + Outbox::pause)) == "abc");
  outbox.done(delivered, start + 2s);
  CHECK_FALSE(outbox.is_failing());
  CHECK(outbox.wait(start + 2s) == 0ms);
  CHECK(outbox.counts().delivered == 3);
  CHECK(outbox.counts().dropped == 0);
}

TEST_CASE("what the receiver will not have is dropped, and the rest goes on at once") {
  Outbox outbox = an_outbox();
  outbox.push("a");
  REQUIRE(outbox.take(start));
  outbox.push("b");
  outbox.done(refused, start);
  CHECK_FALSE(outbox.is_failing());  // it answers
  CHECK(outbox.counts().dropped == 1);
  CHECK(joined(outbox.take(start)) == "b");
  outbox.done(delivered, start);
  CHECK_FALSE(outbox.is_failing());
  CHECK(outbox.held().count == 0);
}

TEST_CASE("a receiver that fails is asked as often as its breaker says") {
  Outbox outbox = an_outbox();
  outbox.push("a");
  TimePoint now = start;
  int attempts = 0;
  int changes = 0;
  while (now < start + 60s) {
    if (const auto batch = outbox.take(now)) {
      attempts += 1;
      changes += batch->change ? 1 : 0;
      changes += outbox.done(failed, now) ? 1 : 0;
    }
    now += std::max(outbox.wait(now), Duration(1));
  }
  // At 0, 1 and 2 s; open for 1, 2, 4 and then 8 s each time.
  CHECK(attempts == 3 + 9);
  CHECK(changes == 1 + 2 * 9);
  CHECK(outbox.breaker().state() == BreakerState::open);
  CHECK(outbox.size() == 1);

  now += outbox.wait(now);
  REQUIRE(outbox.take(now));
  CHECK_FALSE(outbox.done(delivered, now));  // two in a row close it
  outbox.push("b");
  REQUIRE(outbox.take(now));
  CHECK(outbox.done(delivered, now) == BreakerChange{BreakerState::half_open, BreakerState::closed});
}

TEST_CASE("without breakers only the pause holds it back") {
  Outbox outbox = an_outbox(kibibytes(4), false);
  outbox.push("a");
  TimePoint now = start;
  for (int i = 0; i < 10; ++i) {
    CAPTURE(i);
    REQUIRE(outbox.take(now));
    outbox.done(failed, now);
    CHECK(outbox.wait(now) == Outbox::pause);
    now += Outbox::pause;
  }
}

TEST_CASE("the oldest make room, but not those that are on their way") {
  Outbox outbox = an_outbox(Bytes{10});
  outbox.push("aaaa");
  REQUIRE(joined(outbox.take(start)) == "aaaa");
  outbox.push("bbb");
  outbox.push("ccc");
  CHECK(outbox.counts().dropped == 0);
  CHECK(outbox.held().count == 10);
  outbox.push("d");
  CHECK(outbox.counts().dropped == 1);
  outbox.done(failed, start);
  CHECK(joined(outbox.take(start + 1s)) == "aaaacccd");
}

TEST_CASE("an event for which there can be no room is dropped itself") {
  Outbox outbox = an_outbox(Bytes{10});
  outbox.push("12345678901");
  CHECK(outbox.is_empty());
  CHECK(outbox.counts().dropped == 1);
  outbox.push("1234567890");
  REQUIRE(outbox.take(start));
  outbox.push("b");
  CHECK(outbox.counts().dropped == 2);
  CHECK(outbox.size() == 1);
}

TEST_CASE("for one that cannot stay nobody makes room") {
  Outbox outbox = an_outbox(Bytes{10});
  outbox.push("aaaaaa");
  REQUIRE(outbox.take(start));
  outbox.push("bb");
  outbox.push("ccccc");  // with what is on its way it is too much
  CHECK(outbox.counts().dropped == 1);
  outbox.push("dddd");
  CHECK(outbox.counts().dropped == 2);
  outbox.done(delivered, start);
  CHECK(joined(outbox.take(start)) == "dddd");
}

TEST_CASE("what was not delivered can be given to another, or given up") {
  Outbox outbox = an_outbox();
  for (std::size_t i = 0; i < Outbox::most_in_batch; ++i) outbox.push("a");
  REQUIRE(outbox.take(start));
  outbox.push("b");
  const auto all = outbox.give_up();
  CHECK(all.size() == Outbox::most_in_batch + 1);
  CHECK(all.front() == "a");
  CHECK(all.back() == "b");
  CHECK(outbox.is_empty());
  CHECK(outbox.held().count == 0);
  CHECK(outbox.counts().dropped == 0);
  CHECK_FALSE(outbox.done(delivered, start));
  outbox.push("c");
  outbox.drop_all();
  CHECK(outbox.counts().dropped == 1);
  CHECK(outbox.is_empty());
}

TEST_CASE("a batch has a limit in events and one in bytes, and at least one event") {
  Outbox many = an_outbox(mebibytes(1));
  for (std::size_t i = 0; i < Outbox::most_in_batch + 1; ++i) many.push("x");
  CHECK(many.take(start)->events.size() == Outbox::most_in_batch);
  many.done(delivered, start);
  CHECK(many.take(start)->events.size() == 1);

  Outbox large = an_outbox(mebibytes(4));
  const auto most = static_cast<std::size_t>(Outbox::largest_batch.count);
  for (const std::size_t size : {most - 1, std::size_t{1}, std::size_t{1}, 2 * most, most})
    large.push(std::string(size, 'x'));
  for (const std::size_t events : {2, 1, 1, 1}) {
    const auto batch = large.take(start);
    REQUIRE(batch);
    CHECK(batch->events.size() == events);
    large.done(delivered, start);
  }
  CHECK(large.is_empty());
}

TEST_CASE("an answer that nobody waits for changes nothing") {
  Outbox outbox = an_outbox();
  CHECK_FALSE(outbox.done(failed, start));
  CHECK_FALSE(outbox.is_failing());
  CHECK(outbox.wait(start) == 0ms);
}

}  // namespace
}  // namespace kurultai::outbox_test
