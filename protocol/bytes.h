// An amount of memory. Signed, so that differences of two readings can be negative.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/error.h"

namespace kurultai {

struct Bytes {
  std::int64_t count = 0;

  constexpr auto operator<=>(const Bytes&) const = default;
  constexpr Bytes& operator+=(Bytes other) { return count += other.count, *this; }
  constexpr Bytes& operator-=(Bytes other) { return count -= other.count, *this; }
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return a += b; }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return a -= b; }
};

constexpr Bytes kibibytes(std::int64_t n) { return {n * 1024}; }
constexpr Bytes mebibytes(std::int64_t n) { return {n * 1024 * 1024}; }
constexpr Bytes gibibytes(std::int64_t n) { return {n * 1024 * 1024 * 1024}; }

/// `share` (0.85) of `whole`, rounded down. Of a share that is no number, or too large: more than any memory.
constexpr Bytes share_of(Bytes whole, double share) {
  constexpr double too_many = 0x1p62;
  const double bytes = static_cast<double>(whole.count) * share;
  return {bytes < too_many ? static_cast<std::int64_t>(bytes) : static_cast<std::int64_t>(too_many)};
}

/// Reads `512MiB`, `1GiB`, `1.5GiB`, `300M`, `64k`, `4096`. As in systemd and docker a bare letter is the
/// binary unit (300M = 300 MiB), and so is kubectl's `Mi`; `MB` is the decimal one (IEC 80000-13). In any
/// case of letters. Refuses negative and overflowing sizes.
Result<Bytes> parse_bytes(std::string_view text);

/// A short exact form where there is one (`512MiB`, `1.5GiB`, `1300MiB`, `100B`), else one decimal
/// (`1.4GiB`).
std::string to_string(Bytes bytes);

}  // namespace kurultai
