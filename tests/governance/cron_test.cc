#include "governance/cron.h"

#include <doctest/doctest.h>

#include <string>

namespace kurultai::cron_test {
namespace {

Cron cron_of(std::string_view text) {
  const auto cron = Cron::parse(text);
  REQUIRE_MESSAGE(cron.has_value(), std::string(text));
  return *cron;
}

TEST_CASE("the next moment of a cron expression") {
  // 22 November 2026 is a Sunday.
  constexpr CalendarMinute sunday{2026, 11, 22, 10, 30};
  const struct {
    const char* text;
    CalendarMinute next;
  } table[] = {
      {"* * * * *", {2026, 11, 22, 10, 31}},
      {"*/15 * * * *", {2026, 11, 22, 10, 45}},
      {"30 * * * *", {2026, 11, 22, 11, 30}},
      {"5/20 * * * *", {2026, 11, 22, 10, 45}},
      {"0 4 * * *", {2026, 11, 23, 4, 0}},
      {"0 9-17/4 * * *", {2026, 11, 22, 13, 0}},
      {"30 4 * * 1-5", {2026, 11, 23, 4, 30}},
      {"0 0 * * sun", {2026, 11, 29, 0, 0}},
      {"0 0 * * 7", {2026, 11, 29, 0, 0}},
      {"0 0 * * 0", {2026, 11, 29, 0, 0}},
      {"0 0 * * 5-7", {2026, 11, 27, 0, 0}},
      {"0 12 1 JAN *", {2027, 1, 1, 12, 0}},
      {"0 0 31 * *", {2026, 12, 31, 0, 0}},
      {"0 0 29 2 *", {2028, 2, 29, 0, 0}},
      {"0 0 29 2 */7", {2032, 2, 29, 0, 0}},   // that is a Sunday
      {"0 0 13 * 5", {2026, 11, 27, 0, 0}},    // the 13th, or a Friday
      {"0 0 13 * */5", {2026, 12, 13, 0, 0}},  // a star: both; a Sunday
      {"1,2,59 10 22 11 *", {2026, 11, 22, 10, 59}},
      {"@hourly", {2026, 11, 22, 11, 0}},
      {"@daily", {2026, 11, 23, 0, 0}},
      {"@midnight", {2026, 11, 23, 0, 0}},
      {"@weekly", {2026, 11, 29, 0, 0}},
      {"@monthly", {2026, 12, 1, 0, 0}},
      {"@yearly", {2027, 1, 1, 0, 0}},
      {"  0   0\t1 1 * ", {2027, 1, 1, 0, 0}},
  };
  for (const auto& row : table) {
    CAPTURE(row.text);
    CHECK((cron_of(row.text).next(sunday) == row.next));
  }
}

TEST_CASE("it goes on from one moment to the next, over years without 29 February") {
  const Cron cron = cron_of("0 0 29 2 *");
  CalendarMinute at{2092, 3, 1, 0, 0};
  at = cron.next(at);
  CHECK((at == CalendarMinute{2096, 2, 29, 0, 0}));
  at = cron.next(at);
  CHECK((at == CalendarMinute{2104, 2, 29, 0, 0}));
}

TEST_CASE("what is no cron expression is named by its field") {
  const struct {
    const char* text;
    const char* why;
  } table[] = {
      {"", "expected five fields"},
      {"* * * *", "expected five fields"},
      {"* * * * * *", "expected five fields"},
      {"@reboot", "expected five fields"},
      {"60 * * * *", "minute '60': expected 0 to 59"},
      {"* 24 * * *", "hour '24': expected 0 to 23"},
      {"* * 0 * *", "day of month '0': expected 1 to 31"},
      {"* * * 13 *", "month '13': expected 1 to 12 or a name as in jan"},
      {"* * * * 8", "day of week '8': expected 0 to 7 or a name as in sun"},
      {"-1 * * * *", "minute '': expected"},
      {"5-1 * * * *", "ends before it begins"},
      {"1-2-3 * * * *", "a range has two ends"},
      {"*/0 * * * *", "no step such as /5"},
      {"*/5/5 * * * *", "one /step is enough"},
      {"1,,2 * * * *", "minute '': expected"},
      {"99999999999999999999 * * * *", "expected 0 to 59"},
      {"0 0 31 2 *", "no such day in any year"},
      {"0 0 30-31 feb *", "no such day in any year"},
      {"0 0 31 4,6,9,11 *", "no such day in any year"},
  };
  for (const auto& row : table) {
    CAPTURE(row.text);
    const auto cron = Cron::parse(row.text);
    REQUIRE(!cron.has_value());
    CAPTURE(cron.error().message);
    CHECK(cron.error().message.find(row.why) != std::string::npos);
  }
  CHECK(!Cron::parse(std::string(1000, '1')).has_value());
}

}  // namespace
}  // namespace kurultai::cron_test
