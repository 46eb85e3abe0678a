#include "protocol/duration.h"

#include <array>

#include "protocol/quantity.h"
#include "protocol/utf8.h"

namespace kurultai {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t milliseconds;
};

constexpr std::array<Unit, 5> units = {
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

std::int64_t unit_milliseconds(std::string_view name) {  // 0: no such unit
  for (const Unit& unit : units) {
    if (unit.name == name) return unit.milliseconds;
  }
  return 0;
}

std::unexpected<Error> no_duration(std::string_view text, std::string_view why) {
  return failure('"' + to_utf8(utf8_prefix(text, 40)) + "\" is not a duration: " + std::string(why));
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  if (text.empty()) return no_duration(text, "it is empty");
  if (text.starts_with('-')) return no_duration(text, "it is negative");
  if (text == "0") return Duration{0};
  std::int64_t sum = 0;
  for (std::string_view left = text; !left.empty();) {
    const std::optional<Quantity> quantity = take_quantity(left);
    if (!quantity) return no_duration(text, "durations look like 250ms, 5s, 10m, 1h30m");
    if (quantity->unit.empty()) return no_duration(text, "it has no unit; there are ms, s, m, h, d");
    const std::int64_t unit = unit_milliseconds(quantity->unit);
    if (unit == 0) return no_duration(text, "unknown unit; there are ms, s, m, h, d");
    if (unit == 1 && !quantity->fraction.empty())
      return no_duration(text, "it has a fraction of a millisecond");
    const std::optional<std::int64_t> part = multiply(*quantity, unit);
    if (!part || __builtin_add_overflow(sum, *part, &sum)) return no_duration(text, "it is too long");
  }
  // The clocks count nanoseconds in 64 bits, 292 years: a quarter of that can be added to any moment.
  constexpr std::int64_t longest = std::int64_t{26'663} * 86'400'000;
  if (sum > longest) return no_duration(text, "it is longer than 73 years");
  return Duration{sum};
}

std::string to_string(Duration duration) {
  if (duration == Duration{0}) return "0s";
  for (const Unit& unit : units) {
    if (duration.count() % unit.milliseconds == 0) {
      return std::to_string(duration.count() / unit.milliseconds).append(unit.name);
    }
  }
  __builtin_unreachable();  // everything is a multiple of 1 ms
}

std::string to_rfc3339(WallTime time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{floor<milliseconds>(time - day)};
  std::string text = "0000-00-00T00:00:00.000Z";
  // By hand: every event and every task tell their times, and printf took a third of the time of both.
  const auto put = [&text](std::size_t end, std::int64_t value) {
    for (std::size_t at = end; value > 0; value /= 10) text[--at] = static_cast<char>('0' + value % 10);
  };
  put(4, static_cast<int>(date.year()));
  put(7, static_cast<unsigned>(date.month()));
  put(10, static_cast<unsigned>(date.day()));
  put(13, clock.hours().count());
  put(16, clock.minutes().count());
  put(19, clock.seconds().count());
  put(23, clock.subseconds().count());
  return text;
}

}  // namespace kurultai
