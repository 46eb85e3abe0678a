#include "tools/kurultai/event_stream.h"

#include <doctest/doctest.h>

namespace kurultai::event_stream_test {

namespace {
const std::string text =
    ": hello\n\nevent: taskStarted\nid: 7\ndata: {\"taskId\":\"a\"}\n\nid: 8\nevent:taskFailed\ndata: "
    "one\ndata: two\n\nretry: 5\n\n";
}

TEST_CASE("events come out the same however the reads are cut") {
  for (std::size_t size = 1; size <= text.size(); ++size) {
    EventStream stream;
    std::vector<StreamEvent> events;
    for (std::size_t at = 0; at < text.size(); at += size) {
      for (auto& event : stream.feed(std::string_view(text).substr(at, size)))
        events.push_back(std::move(event));
    }
    REQUIRE(events.size() == 2);
    CHECK(events[0].type == "taskStarted");
    CHECK(events[0].id == "7");
    CHECK(events[0].data == "{\"taskId\":\"a\"}");
    CHECK(events[1].type == "taskFailed");
    CHECK(events[1].data == "one\ntwo");
    CHECK(stream.last_id() == "8");
  }
}

TEST_CASE("an event that is not yet whole stays back") {
  EventStream stream;
  CHECK(stream.feed("data: half\n").empty());
  CHECK(stream.feed("\n").size() == 1);
}

TEST_CASE("a line that is too long is dropped, the stream goes on") {
  EventStream stream;
  const auto events = stream.feed("data: " + std::string(2'000'000, 'x') + "\ndata: y\n\n");
  REQUIRE(events.size() == 1);
  CHECK(events[0].data == "y");
}

TEST_CASE("lines of data without anything in them are lines, too, and an id with a NUL is none") {
  EventStream stream;
  const auto events =
      stream.feed("id: 1\ndata\ndata: x\ndata:\n\n" + std::string("id: a\0b\n", 8) + "data:\n\n");
  REQUIRE(events.size() == 1);
  CHECK(events[0].data == "\nx\n");
  CHECK(stream.last_id() == "1");
}

TEST_CASE("an event of endless lines is not held, and the one behind it comes") {
  EventStream stream;
  const std::string line = "data: " + std::string(1000, 'x') + "\n";
  for (int i = 0; i < 2000; ++i) CHECK(stream.feed(line).empty());
  const auto events = stream.feed("\nid: 9\ndata: y\n\n");
  REQUIRE(events.size() == 1);
  CHECK(events[0].data == "y");
}

}  // namespace kurultai::event_stream_test
