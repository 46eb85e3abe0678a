#include "tools/kurultai/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "protocol/utf8.h"

namespace kurultai {
namespace {

constexpr std::size_t longest_label = 80;

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

/// U+200E, U+200F, U+202A to U+202E and U+2066 to U+2069: behind one of them a line may be read as another.
bool turns_text_around(std::string_view character) {
  const auto second = static_cast<unsigned char>(character[1]);
  const auto last = static_cast<unsigned char>(character[2]);
  if (second == 0x80) return last == 0x8E || last == 0x8F || (last >= 0xAA && last <= 0xAE);
  return second == 0x81 && last >= 0xA6 && last <= 0xA9;
}

std::string format(const char* pattern, auto... values) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), pattern, values...);
  return buffer.data();
}

std::string two_units(std::int64_t large, const char* large_unit, std::int64_t small,
                      const char* small_unit) {
  const std::string head = std::to_string(large) + large_unit;
  return small == 0 ? head : head + std::to_string(small) + small_unit;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out = to_utf8(text);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto byte = static_cast<unsigned char>(out[i]);
    if (byte < 0x20 || byte == 0x7F) out[i] = ' ';
    // U+0080 to U+009F: terminals take them for escape sequences too.
    if (byte == 0xC2 && static_cast<unsigned char>(out[i + 1]) < 0xA0) out[i] = ' ', out.erase(i + 1, 1);
    if (byte == 0xE2 && turns_text_around(std::string_view(out).substr(i, 3)))
      out[i] = ' ', out.erase(i + 1, 2);
  }
  return out;
}

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return !is_continuation(c); }));
}

std::string shorten(std::string_view text, std::size_t columns) {
  if (width(text) <= columns) return std::string(text);
  std::size_t end = 0;
  for (std::size_t taken = 0; end < text.size(); ++end) {
    if (!is_continuation(text[end]) && ++taken >= columns) break;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string brief(Duration duration) {
  const std::int64_t ms = std::max<std::int64_t>(0, duration.count());
  if (ms < 1000) return std::to_string(ms) + "ms";
  if (ms < 9950) return format("%.1fs", static_cast<double>(ms) / 1000.0);
  const std::int64_t s = (ms + 500) / 1000;
  if (s < 60) return std::to_string(s) + "s";
  if (s < 3600) return two_units(s / 60, "m", s % 60, "s");
  if (s < 86400) return two_units(s / 3600, "h", s % 3600 / 60, "m");
  return two_units(s / 86400, "d", s % 86400 / 3600, "h");
}

std::string brief(Bytes bytes) {
  static constexpr std::array<const char*, 6> units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto amount = static_cast<double>(bytes.count);
  std::size_t unit = 0;
  while (std::abs(amount) >= 1023.95 && unit + 1 < units.size()) amount /= 1024, ++unit;
  amount = std::round(amount * 10) / 10;
  const bool whole = amount == std::trunc(amount) || std::abs(amount) >= 100;
  return format(whole ? "%.0f%s" : "%.1f%s", amount, units[unit]);
}

std::string percent(double ratio) { return format("%.0f %%", ratio * 100.0); }

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  const std::string copy(text);
  std::tm parts{};
  int taken = 0;
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
                  &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &taken) != 6) {
    return std::nullopt;
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  std::string_view rest = text.substr(static_cast<std::size_t>(taken));
  double fraction = 0;
  if (rest.starts_with('.')) {
    const std::string_view digits = rest.substr(0, rest.find_first_not_of("0123456789", 1));
    std::from_chars(digits.data(), digits.data() + digits.size(), fraction);
    rest.remove_prefix(digits.size());
  }
  const std::time_t seconds = timegm(&parts);
  // The clock counts nanoseconds in 64 bits.
  constexpr std::time_t farthest = std::time_t{285} * 365 * 86'400;
  if (rest != "Z" || seconds > farthest || seconds < -farthest) return std::nullopt;
  return std::chrono::system_clock::from_time_t(seconds) +
         std::chrono::milliseconds(std::lround(fraction * 1000.0));
}

std::string age(std::string_view rfc3339, WallTime now) {
  const auto then = parse_rfc3339(rfc3339);
  if (!then) return "-";
  return brief(std::max(Duration(0), std::chrono::duration_cast<Duration>(now - *then)));
}

std::string command_label(const std::vector<std::string>& argv, std::string_view argument) {
  std::string out;
  for (const auto& word : argv) {
    if (!out.empty()) out += ' ';
    out += word;
    if (out.size() > 4 * longest_label) break;  // bytes; a character has at most four
  }
  out = printable(out);
  if (argument.empty() || width(out) <= longest_label) return shorten(out, longest_label);
  const std::string end = " " + shorten(printable(argument), longest_label / 2);
  return shorten(out, longest_label - width(end)) + end;
}

std::string url_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                       (byte >= 'a' && byte <= 'z') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : format("%%%02X", static_cast<unsigned>(byte));
  }
  return out;
}

}  // namespace kurultai
