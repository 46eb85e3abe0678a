#include "governance/breaker_table.h"

#include <doctest/doctest.h>

#include <string>

namespace kurultai::breaker_table_test {
namespace {

using namespace std::chrono_literals;

const TimePoint start{1h};

TEST_CASE("a name has one breaker for all who call it") {
  BreakerTable table({.failures = 2});
  CHECK_FALSE(table.get("api", "a", start)->failure(start, {"w1"}));
  CHECK(table.get("api", "a", start)->failure(start, {"w2"}));
  CHECK(table.get("other", "a", start)->state() == BreakerState::closed);
  CHECK(table.all().size() == 2);
}

TEST_CASE("names are short and there is one") {
  BreakerTable table({});
  CHECK(table.get("", "a", start) == nullptr);
  CHECK(table.get(std::string(BreakerTable::longest_name, 'x'), "a", start) != nullptr);
  CHECK(table.get(std::string(BreakerTable::longest_name + 1, 'x'), "a", start) == nullptr);
}

TEST_CASE("names without end find room while the ones before are of no use any more") {
  BreakerTable table({});
  table.get("failing", "a", start)->failure(start, {"w1"});
  for (std::size_t i = 0; i < 10 * BreakerTable::most; ++i) {
    CHECK(table.get("name " + std::to_string(i), "a", start) != nullptr);
    CHECK(table.all().size() <= BreakerTable::most);
  }
  CHECK(table.all().contains("failing"));
}

TEST_CASE("a full table takes no more, until some of it is old") {
  BreakerTable table({});
  for (std::size_t i = 0; i < BreakerTable::most; ++i)
    table.get(std::to_string(i), std::to_string(i % 8), start)->failure(start, {"w1"});
  CHECK(table.get("one more", "a", start) == nullptr);
  CHECK(table.get("0", "a", start) != nullptr);
  CHECK(table.get("one more", "a", start + 61s) != nullptr);
  CHECK(table.all().size() == 1);
}

TEST_CASE("one agent leaves room for the others") {
  BreakerTable table({});
  for (std::size_t i = 0; i < BreakerTable::most_of_one; ++i)
    table.get("a" + std::to_string(i), "a", start)->failure(start, {"w1"});
  CHECK(table.get("one more", "a", start) == nullptr);
  CHECK(table.get("a0", "b", start) != nullptr);
  CHECK(table.get("one more", "b", start) != nullptr);
  CHECK(table.get("one more", "a", start) != nullptr);  // it is there now
  CHECK(table.get("late", "a", start + 61s) != nullptr);
}

TEST_CASE("a worker that is gone gives back what it had of every name") {
  BreakerTable table({.failures = 1});
  for (const char* name : {"a", "b"}) {
    CircuitBreaker& breaker = *table.get(name, "a", start);
    breaker.failure(start, {"w1"});
    CHECK(breaker.acquire(start + 1s, {"w1", 3}).allowed);
    CHECK_FALSE(breaker.acquire(start + 1s, {"w2"}).allowed);
  }
  table.give_back_all("w1");
  for (const char* name : {"a", "b"}) CHECK(table.get(name, "a", start)->acquire(start + 1s, {"w2"}).allowed);
}

TEST_CASE("under other rules all begin anew") {
  BreakerTable table({});
  table.get("api", "a", start)->failure(start, {"w1"});
  table.start_anew({.failures = 1});
  CHECK(table.all().empty());
  CHECK(table.get("api", "a", start)->failure(start, {"w1"}));
}

}  // namespace
}  // namespace kurultai::breaker_table_test
