// Sizes, durations, times of day, addresses and templates, as people write them: what is understood is shown
// as words that mean the same, and a time of day comes when its fields say so.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/command_template.h"
#include "config/listen_address.h"
#include "governance/cron.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/utf8.h"
#include "supervisor/gateway/byte_range.h"
#include "tests/fuzz/check.h"
#include "tools/kurultai/text.h"

using namespace kurultai;

namespace {

template <typename T>
bool is_told(const Result<T>& result) {
  return !result.error().message.empty() && is_utf8(result.error().message);
}

void sizes(std::string_view text) {
  const auto size = parse_bytes(text);
  if (!size) return HOLDS(is_told(size));
  HOLDS(size->count >= 0);
  const std::string shown = to_string(*size);
  const auto again = parse_bytes(shown);
  // 8EiB is what rounds to it from below, and is one too many.
  if (!again) return HOLDS(shown == "8EiB" || shown == "8.0EiB");
  HOLDS(parse_bytes(to_string(*again))->count == again->count);  // 84.0TiB is 84TiB
  const std::int64_t off =
      again->count > size->count ? again->count - size->count : size->count - again->count;
  HOLDS(off <= size->count / 20);
  HOLDS(brief(*size).size() <= 9);
}

void durations(std::string_view text) {
  const auto duration = parse_duration(text);
  if (!duration) return HOLDS(is_told(duration));
  HOLDS(duration->count() >= 0);
  HOLDS(parse_duration(to_string(*duration)) == *duration);
  HOLDS(!brief(*duration).empty());
}

void moments(std::string_view text) {
  const auto moment = parse_rfc3339(text);
  if (!moment) return;
  const auto again = parse_rfc3339(to_rfc3339(*moment));
  HOLDS(again == std::chrono::floor<std::chrono::milliseconds>(*moment));
}

/// Times of day by the sets of their fields, written without a look at cron.cc; names are its own business.
class Fields {
 public:
  static std::optional<Fields> read(std::string_view text) {
    static constexpr std::array<std::array<int, 2>, 5> ends = {{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 7}}};
    Fields fields;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
      std::string_view word = text.substr(0, text.find_first_of(" \t"));
      text.remove_prefix(word.size());
      if (word.empty() || word.find_first_not_of("0123456789*/-,") != std::string_view::npos)
        return std::nullopt;
      fields.starred_[i] = word.starts_with('*');
      while (!word.empty()) {
        std::string_view part = word.substr(0, word.find(','));
        word.remove_prefix(std::min(part.size() + 1, word.size()));
        int step = 1, first = ends[i][0], last = ends[i][1];
        const std::size_t slash = part.find('/');
        if (slash != std::string_view::npos) step = number(part.substr(slash + 1));
        const std::string_view range = part.substr(0, slash);
        if (range != "*") {
          first = number(range.substr(0, range.find('-')));
          if (range.contains('-')) last = number(range.substr(range.find('-') + 1));
          if (!range.contains('-') && slash == std::string_view::npos) last = first;
        }
        for (int value = first; value <= last; value += std::max(step, 1))
          fields.sets_[i].insert(value % (i == 4 ? 7 : 60));
      }
    }
    return fields;
  }

  bool is_day(std::chrono::sys_days date) const {
    const std::chrono::year_month_day day(date);
    const bool by_day = has(2, static_cast<int>(static_cast<unsigned>(day.day())));
    const bool by_weekday = has(4, static_cast<int>(std::chrono::weekday(date).c_encoding()));
    if (!has(3, static_cast<int>(static_cast<unsigned>(day.month())))) return false;
    return starred_[2] || starred_[4] ? by_day && by_weekday : by_day || by_weekday;
  }
  bool is_time(int hour, int minute) const { return has(1, hour) && has(0, minute); }

 private:
  static int number(std::string_view digits) {
    int value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
  }
  bool has(std::size_t field, int value) const { return sets_[field].contains(value); }

  std::array<std::set<int>, 5> sets_;
  std::array<bool, 5> starred_{};
};

std::chrono::sys_days day_of(const CalendarMinute& at) {
  return std::chrono::sys_days(std::chrono::year(at.year) / static_cast<int>(at.month) /
                               static_cast<int>(at.day));
}

int minute_of_day(const CalendarMinute& at) { return static_cast<int>(at.hour * 60 + at.minute); }

/// The first minute behind `after`, one by one.
void is_the_first(const Fields& fields, const CalendarMinute& after, const CalendarMinute& next) {
  using std::chrono::days;
  HOLDS(next > after);
  for (auto day = day_of(after); day <= day_of(next); day += days(1)) {
    if (!fields.is_day(day)) {
      HOLDS(day != day_of(next));
      continue;
    }
    const int begin = day == day_of(after) ? minute_of_day(after) + 1 : 0;
    const int end = day == day_of(next) ? minute_of_day(next) : 24 * 60;
    for (int minute = begin; minute < end; ++minute) HOLDS(!fields.is_time(minute / 60, minute % 60));
  }
  HOLDS(fields.is_time(static_cast<int>(next.hour), static_cast<int>(next.minute)));
}

void times_of_day(std::string_view text) {
  const auto cron = Cron::parse(text);
  if (!cron) return HOLDS(is_told(cron) || !is_utf8(text));
  HOLDS(cron->text() == text);
  const auto fields = Fields::read(text);
  for (CalendarMinute at : {CalendarMinute{2024, 2, 28, 23, 58}, CalendarMinute{2099, 12, 31, 23, 59}}) {
    for (int i = 0; i < 3; ++i) {
      const CalendarMinute next = cron->next(at);
      HOLDS(next > at);
      if (fields) is_the_first(*fields, at, next);
      at = next;
    }
  }
}

void templates(std::string_view text) {
  const auto pieces = parse_template(text);
  if (!pieces) return HOLDS(is_told(pieces));
  std::string again;
  for (const TemplatePiece& piece : *pieces) {
    HOLDS(!piece.text.empty());
    if (piece.is_field) again += "{" + piece.text + "}";
    for (const char c : piece.is_field ? std::string() : piece.text)
      again += c == '{' || c == '}' ? std::string(2, c) : std::string(1, c);
  }
  HOLDS(again == text);
}

void addresses(std::string_view text) {
  const auto address = parse_listen(text);
  if (!address) return HOLDS(is_told(address));
  if (!*address) return HOLDS(text == "none");
  const ListenAddress& at = **address;
  const std::string host = at.host.contains(':') ? "[" + at.host + "]" : at.host;
  const auto again = parse_listen(host + ":" + std::to_string(at.port));
  HOLDS(again && *again && (*again)->host == at.host && (*again)->port == at.port);
  static_cast<void>(is_loopback(at.host));
}

void ranges(std::string_view text) {
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{10}, INT64_MAX}) {
    const AskedRange asked = asked_range(text, size);
    if (asked.answer != RangeAnswer::part) continue;
    HOLDS(asked.part.first >= 0 && asked.part.length > 0 && asked.part.first <= size - asked.part.length);
  }
}

void shown(std::string_view text) {
  const std::string safe = printable(text);
  HOLDS(is_utf8(safe) && std::ranges::none_of(safe, [](unsigned char c) { return c < 0x20 || c == 0x7f; }));
  HOLDS(printable(safe) == safe);
  HOLDS(width(shorten(safe, 10)) <= 10);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  sizes(text);
  durations(text);
  moments(text);
  times_of_day(text);
  templates(text);
  addresses(text);
  ranges(text);
  shown(text);
  return 0;
}
