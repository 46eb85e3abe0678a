#include "supervisor/gateway/event_history.h"

#include <doctest/doctest.h>

#include "supervisor/events.h"
#include "supervisor/gateway/event_streams.h"

namespace kurultai::event_history_test {

namespace {

EventHistory with(std::uint64_t first, std::uint64_t last, std::size_t max_events = 100,
                  std::size_t max_bytes = 10000) {
  EventHistory history(max_events, max_bytes);
  for (std::uint64_t id = first; id <= last; ++id)
    history.add({id, id % 2 == 0 ? "even" : "odd", std::to_string(id) + " "});
  return history;
}

EventFilter about(const std::string& task_id) { return {.task_id = task_id, .agent = {}, .types = {}}; }

}  // namespace

TEST_CASE("a reader that comes back gets what came after its event, and no more") {
  const EventHistory history = with(7, 12);
  CHECK(history.after(9) == "10 11 12 ");
  CHECK(history.after(9, about("even")) == "10 12 ");
  CHECK(history.after(12).empty());
  CHECK(history.after(0, about("odd")) == "7 9 11 ");
  CHECK(history.after(0, about("nobody")).empty());
}

TEST_CASE("a reader is told when it cannot be told all") {
  const EventHistory history = with(7, 12, 3);
  CHECK(history.oldest() == 10U);
  for (const std::uint64_t seen : {9, 10, 11, 12}) CHECK(history.is_complete_after(seen));
  CHECK_FALSE(history.is_complete_after(8));               // 9 is no longer here
  CHECK_FALSE(history.is_complete_after(13));              // was never given out: by another supervisor
  CHECK_FALSE(EventHistory(3, 100).is_complete_after(5));  // nothing has happened yet in this one
  const EventHistory fresh = with(7, 8);
  CHECK(fresh.is_complete_after(6));
  CHECK_FALSE(fresh.is_complete_after(5));  // an earlier supervisor's
}

TEST_CASE("what is remembered is bounded in number and bytes, whatever a single event weighs") {
  EventHistory history(1000, 100);
  for (std::uint64_t id = 1; id <= 50; ++id) history.add({id, "", std::string(10, 'x')});
  CHECK(history.after(0).size() == 100);
  CHECK(history.oldest() == 41U);
  history.add({51, "", std::string(101, 'x')});
  CHECK(history.after(0).empty());
  CHECK(history.oldest() == std::nullopt);
  CHECK_FALSE(history.is_complete_after(50));
  CHECK(history.is_complete_after(51));
  history.add({52, "", "y"});
  CHECK(history.after(51) == "y");
}

TEST_CASE("ids of a later supervisor are larger, and exact in JavaScript") {
  const WallTime start{std::chrono::milliseconds(1'800'000'000'000)};
  CHECK(first_event_id(start) == 1'800'000'000'000'001U);
  CHECK(first_event_id(start + std::chrono::milliseconds(1)) - first_event_id(start) == 1000);
  CHECK(first_event_id(start + std::chrono::years(100)) < (1ULL << 53));
  CHECK(first_event_id(WallTime{} - std::chrono::hours(1)) == 1);
}

TEST_CASE("many readers may each be less far behind") {
  constexpr std::size_t mib = 1024 * 1024;
  CHECK(backlog_limit(0) == mib);
  CHECK(backlog_limit(16) == mib);
  CHECK(backlog_limit(32) == mib / 2);
  CHECK(backlog_limit(256) == mib / 8);
}

}  // namespace kurultai::event_history_test
