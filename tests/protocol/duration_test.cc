#include "protocol/duration.h"

#include <doctest/doctest.h>

#include <string>

namespace kurultai::duration_test {

TEST_CASE("durations are read in units, also several in a row") {
  struct Row {
    std::string text;
    std::int64_t milliseconds;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"0", 0},
           {"0s", 0},
           {"250ms", 250},
           {"5s", 5'000},
           {"5 s", 5'000},
           {"1.5s", 1'500},
           {"0.1s", 100},
           {"1.0005s", 1'000},
           {"10m", 600'000},
           {"1h", 3'600'000},
           {"1h30m", 5'400'000},
           {"1m500ms", 60'500},
           {"7d", 604'800'000},
           {"26663d", 26'663LL * 86'400'000},
       }) {
    CAPTURE(row.text);
    const Result<Duration> duration = parse_duration(row.text);
    REQUIRE(duration.has_value());
    CHECK(duration->count() == row.milliseconds);
  }
}

TEST_CASE("what is no duration is refused with the text and the cause") {
  struct Row {
    std::string text;
    std::string cause;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"", "empty"},
           {"-5s", "negative"},
           {"5", "no unit"},
           {"00", "no unit"},
           {"1h30", "no unit"},
           {"s", "look like"},
           {"5s,", "look like"},
           {"5M", "unknown unit"},
           {"5S", "unknown unit"},
           {"5min", "unknown unit"},
           {"5us", "unknown unit"},
           {"1.5ms", "fraction of a millisecond"},
           {"26664d", "longer than 73 years"},
           {"9223372036854775807ms", "longer than 73 years"},
           {"9223372036854775808ms", "too long"},
           {"9223372036854775807ms9223372036854775807ms", "too long"},
           {"9223372036854775807d", "too long"},
       }) {
    CAPTURE(row.text);
    const Result<Duration> duration = parse_duration(row.text);
    REQUIRE_FALSE(duration.has_value());
    CAPTURE(duration.error().message);
    CHECK(duration.error().message.starts_with('"' + std::string(row.text).substr(0, 40)));
    CHECK(duration.error().message.find(row.cause) != std::string::npos);
  }
}

TEST_CASE("durations are written in the largest exact unit and read back as themselves") {
  struct Row {
    std::int64_t milliseconds;
    std::string text;
  };
  for (const Row& row : std::initializer_list<Row>{{0, "0s"},
                                                   {250, "250ms"},
                                                   {1'500, "1500ms"},
                                                   {5'000, "5s"},
                                                   {90'000, "90s"},
                                                   {600'000, "10m"},
                                                   {3'600'000, "1h"},
                                                   {86'400'000, "1d"}}) {
    CHECK(to_string(Duration{row.milliseconds}) == row.text);
    CHECK(parse_duration(row.text).value() == Duration{row.milliseconds});
  }
  CHECK(to_string(Duration{-5'000}) == "-5s");
}

TEST_CASE("moments are written as RFC 3339 in UTC with milliseconds") {
  using namespace std::chrono;
  CHECK(to_rfc3339(WallTime{}) == "1970-01-01T00:00:00.000Z");
  CHECK(to_rfc3339(WallTime{milliseconds{1'772'366'400'123}}) == "2026-03-01T12:00:00.123Z");
  CHECK(to_rfc3339(WallTime{seconds{951'782'400}}) == "2000-02-29T00:00:00.000Z");
  CHECK(to_rfc3339(WallTime{milliseconds{-1}}) == "1969-12-31T23:59:59.999Z");
}

}  // namespace kurultai::duration_test
