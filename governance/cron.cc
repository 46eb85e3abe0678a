#include "governance/cron.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <span>
#include <utility>
#include <vector>

namespace kurultai {
namespace {

using Names = std::span<const std::string_view>;

constexpr std::array<std::string_view, 12> month_names = {"jan", "feb", "mar", "apr", "may", "jun",
                                                          "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> day_names = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
  std::string_view name;
  unsigned least, most;
  Names names = {};  // of `least` and those that follow
};

constexpr std::size_t field_count = 5;
const std::array<Field, field_count> fields = {{{"minute", 0, 59},
                                                {"hour", 0, 23},
                                                {"day of month", 1, 31},
                                                {"month", 1, 12, month_names},
                                                {"day of week", 0, 7, day_names}}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 7> nicknames = {
    {{"@hourly", "0 * * * *"},
     {"@daily", "0 0 * * *"},
     {"@midnight", "0 0 * * *"},
     {"@weekly", "0 0 * * 0"},
     {"@monthly", "0 0 1 * *"},
     {"@yearly", "0 0 1 1 *"},
     {"@annually", "0 0 1 1 *"}}};

constexpr std::size_t longest = 256;
// Hold 29 February on every day of the week, also around 2100.
constexpr int enough_years = 52;

using Parsed = Result<std::uint64_t>;

std::vector<std::string_view> split(std::string_view text, char between) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(between);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    words.push_back(text.substr(0, text.find_first_of(" \t")));
    text.remove_prefix(words.back().size());
  }
  return words;
}

std::unexpected<Error> wrong(const Field& field, std::string_view text, const std::string& why) {
  return failure(std::string(field.name) + " '" + std::string(text) + "': " + why);
}

bool is_same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::optional<unsigned> number_of(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<unsigned> value_of(const Field& field, std::string_view text) {
  for (std::size_t i = 0; i < field.names.size(); ++i) {
    if (is_same_word(text, field.names[i])) return field.least + static_cast<unsigned>(i);
  }
  const auto value = number_of(text);
  if (!value || *value < field.least || *value > field.most) {
    return wrong(field, text,
                 "expected " + std::to_string(field.least) + " to " + std::to_string(field.most) +
                     (field.names.empty() ? "" : " or a name as in " + std::string(field.names[0])));
  }
  return *value;
}

/// 5, 1-5, *, and each with /step.
Parsed range_of(const Field& field, std::string_view text) {
  const auto by_step = split(text, '/');
  unsigned step = 1;
  if (by_step.size() > 2) return wrong(field, text, "one /step is enough");
  if (by_step.size() == 2) {
    const auto given = number_of(by_step[1]);
    if (!given || *given == 0 || *given > field.most) return wrong(field, text, "no step such as /5");
    step = *given;
  }
  unsigned first = field.least, last = field.most;
  if (by_step[0] != "*") {
    const auto ends = split(by_step[0], '-');
    if (ends.size() > 2) return wrong(field, text, "a range has two ends");
    const auto begin = value_of(field, ends[0]);
    if (!begin) return std::unexpected(begin.error());
    first = *begin;
    if (ends.size() == 2) {
      const auto end = value_of(field, ends[1]);
      if (!end) return std::unexpected(end.error());
      last = *end;
    } else if (by_step.size() == 1) {
      last = first;
    }
    if (last < first) return wrong(field, text, "the range ends before it begins");
  }
  std::uint64_t bits = 0;
  for (unsigned value = first; value <= last; value += step) bits |= std::uint64_t{1} << value;
  return bits;
}

Parsed bits_of(const Field& field, std::string_view text) {
  std::uint64_t bits = 0;
  for (const std::string_view part : split(text, ',')) {
    const auto range = range_of(field, part);
    if (!range) return range;
    bits |= *range;
  }
  return bits;
}

bool has(std::uint64_t bits, unsigned value) { return (bits >> value & 1) != 0; }

}  // namespace

Result<Cron> Cron::parse(std::string_view text) {
  if (text.size() > longest) return failure("longer than any cron expression");
  Cron cron;
  cron.text_ = text;
  for (const auto& [nickname, meaning] : nicknames) {
    if (text == nickname) text = meaning;
  }
  const auto words = words_of(text);
  if (words.size() != field_count) {
    return failure(
        "expected five fields, minute hour day-of-month month day-of-week, as in '30 4 * * 1-5', or @daily");
  }
  const std::array<std::uint64_t*, field_count> places = {&cron.minutes_, &cron.hours_, &cron.days_,
                                                          &cron.months_, &cron.weekdays_};
  for (std::size_t i = 0; i < field_count; ++i) {
    const auto bits = bits_of(fields[i], words[i]);
    if (!bits) return std::unexpected(bits.error());
    *places[i] = *bits;
  }
  if (has(cron.weekdays_, 7)) cron.weekdays_ |= 1;  // Sunday has two numbers
  cron.any_day_ = words[2].starts_with('*');
  cron.any_weekday_ = words[4].starts_with('*');
  if (!cron.has_any_day()) return failure("there is no such day in any year");
  return cron;
}

bool Cron::is_day(int year, unsigned month, unsigned day) const {
  if (!has(months_, month)) return false;
  const bool by_day = has(days_, day);
  const std::chrono::weekday weekday(
      std::chrono::sys_days(std::chrono::year(year) / static_cast<int>(month) / static_cast<int>(day)));
  const bool by_weekday = has(weekdays_, weekday.c_encoding());
  if (any_day_ || any_weekday_) return by_day && by_weekday;
  return by_day || by_weekday;
}

/// 31 February comes in no year; what a leap year has not, none has.
bool Cron::has_any_day() const {
  if (!any_day_ && !any_weekday_) return true;
  static constexpr std::array<unsigned, 12> lengths = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  for (unsigned month = 1; month <= lengths.size(); ++month) {
    for (unsigned day = 1; has(months_, month) && day <= lengths[month - 1]; ++day) {
      if (has(days_, day)) return true;
    }
  }
  return false;
}

/// From that time of the day on.
std::optional<CalendarMinute> Cron::first_of_day(CalendarMinute day, unsigned hour, unsigned minute) const {
  for (; hour < 24; ++hour, minute = 0) {
    if (!has(hours_, hour)) continue;
    for (; minute < 60; ++minute) {
      if (!has(minutes_, minute)) continue;
      day.hour = hour;
      day.minute = minute;
      return day;
    }
  }
  return std::nullopt;
}

CalendarMinute Cron::next(const CalendarMinute& after) const {
  using std::chrono::days;
  using std::chrono::year_month_day;
  const std::chrono::sys_days begin(std::chrono::year(after.year) / static_cast<int>(after.month) /
                                    static_cast<int>(after.day));
  unsigned hour = after.hour, minute = after.minute + 1;
  for (auto date = begin; date <= begin + days(366 * enough_years); date += days(1), hour = minute = 0) {
    const year_month_day day(date);
    const CalendarMinute at{static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                            static_cast<unsigned>(day.day()), 0, 0};
    if (!is_day(at.year, at.month, at.day)) continue;
    if (const auto found = first_of_day(at, hour, minute)) return *found;
  }
  return after;  // not reached: `parse` refuses what has no day
}

}  // namespace kurultai
