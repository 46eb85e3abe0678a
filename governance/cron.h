// Times of day as crontab(5) writes them: minute, hour, day of month, month, day of week; or @hourly, @daily,
// @weekly, @monthly, @yearly. Pure: the calendar is given, and in which zone it is kept only the caller
// knows.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/error.h"

namespace kurultai {

struct CalendarMinute {
  int year = 1970;
  unsigned month = 1;  // from 1
  unsigned day = 1;    // from 1
  unsigned hour = 0;
  unsigned minute = 0;
  auto operator<=>(const CalendarMinute&) const = default;
};

class Cron {
 public:
  /// An error says which of the fields is wrong, and how.
  static Result<Cron> parse(std::string_view text);

  /// As it was written.
  const std::string& text() const { return text_; }
  /// The first minute behind `after` that it means; `parse` takes no expression without one.
  CalendarMinute next(const CalendarMinute& after) const;

 private:
  bool is_day(int year, unsigned month, unsigned day) const;
  std::optional<CalendarMinute> first_of_day(CalendarMinute day, unsigned hour, unsigned minute) const;
  bool has_any_day() const;

  std::string text_;
  // A bit for each value.
  std::uint64_t minutes_ = 0, hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;
  // With a star in one of the two the other decides; with none a day has to match one of them (crontab(5)).
  bool any_day_ = false, any_weekday_ = false;
};

}  // namespace kurultai
