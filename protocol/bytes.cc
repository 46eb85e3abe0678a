#include "protocol/bytes.h"

#include <array>

#include "protocol/quantity.h"
#include "protocol/utf8.h"

namespace kurultai {
namespace {

struct Unit {
  std::string_view name;  // in lower case
  std::int64_t bytes;
};

constexpr std::int64_t binary(int power) { return std::int64_t{1} << (10 * power); }

constexpr std::array<Unit, 26> units = {{
    {"", 1},
    {"b", 1},
    {"k", binary(1)},
    {"ki", binary(1)},
    {"kib", binary(1)},
    {"kb", 1'000},
    {"m", binary(2)},
    {"mi", binary(2)},
    {"mib", binary(2)},
    {"mb", 1'000'000},
    {"g", binary(3)},
    {"gi", binary(3)},
    {"gib", binary(3)},
    {"gb", 1'000'000'000},
    {"t", binary(4)},
    {"ti", binary(4)},
    {"tib", binary(4)},
    {"tb", 1'000'000'000'000},
    {"p", binary(5)},
    {"pi", binary(5)},
    {"pib", binary(5)},
    {"pb", 1'000'000'000'000'000},
    {"e", binary(6)},
    {"ei", binary(6)},
    {"eib", binary(6)},
    {"eb", 1'000'000'000'000'000'000},
}};

std::int64_t unit_bytes(std::string_view name) {  // 0: no such unit
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  }
  for (const Unit& unit : units) {
    if (unit.name == lower) return unit.bytes;
  }
  return 0;
}

std::unexpected<Error> no_size(std::string_view text, std::string_view why) {
  return failure('"' + to_utf8(utf8_prefix(text, 40)) + "\" is not a size: " + std::string(why));
}

constexpr std::array<std::string_view, 7> unit_names = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

std::string with_one_decimal(std::uint64_t tenths, int power) {
  std::string text = std::to_string(tenths / 10) + '.' + static_cast<char>('0' + tenths % 10);
  return text.append(unit_names[power]);
}

// In tenths of the unit of `power`, rounded to the nearest. By parts: ten times the whole may overflow.
std::uint64_t tenths_of(std::uint64_t count, int power) {
  const auto unit = static_cast<std::uint64_t>(binary(power));
  return count / unit * 10 + (count % unit * 10 + unit / 2) / unit;
}

std::string digits_of(std::uint64_t count) {
  int power = 0;
  while (power < 6 && count >= static_cast<std::uint64_t>(binary(power + 1))) ++power;
  const auto unit = static_cast<std::uint64_t>(binary(power));
  if (count % unit == 0) return std::to_string(count / unit).append(unit_names[power]);
  if (count % (unit / 2) == 0) return with_one_decimal(tenths_of(count, power), power);  // only .5 is exact
  // 1300MiB says more than 1.3GiB, but 353284KiB does not.
  const std::uint64_t smaller = unit / 1024;
  if (count % smaller == 0 && count / smaller < 10'000) {
    return std::to_string(count / smaller).append(unit_names[power - 1]);
  }
  const std::uint64_t tenths = tenths_of(count, power);
  return tenths == 10240 && power < 6 ? with_one_decimal(10, power + 1) : with_one_decimal(tenths, power);
}

}  // namespace

Result<Bytes> parse_bytes(std::string_view text) {
  if (text.empty()) return no_size(text, "it is empty");
  if (text.starts_with('-')) return no_size(text, "it is negative");
  std::string_view left = text;
  const std::optional<Quantity> quantity = take_quantity(left);
  if (!quantity || !left.empty()) return no_size(text, "sizes look like 512MiB, 1.5GiB, 300M");
  const std::int64_t unit = unit_bytes(quantity->unit);
  if (unit == 0) return no_size(text, "unknown unit; there are KiB, MiB, GiB, TiB, and kB, MB, GB, TB");
  if (unit == 1 && !quantity->fraction.empty()) return no_size(text, "it has a fraction of a byte");
  const std::optional<std::int64_t> count = multiply(*quantity, unit);
  if (!count) return no_size(text, "it is too large");
  return Bytes{*count};
}

std::string to_string(Bytes bytes) {
  // Negated as unsigned: the lowest value has no positive twin.
  const auto count = static_cast<std::uint64_t>(bytes.count);
  return bytes.count < 0 ? '-' + digits_of(0 - count) : digits_of(count);
}

}  // namespace kurultai
