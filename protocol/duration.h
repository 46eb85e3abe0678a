// Durations as people write them, and moments as programs exchange them.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "protocol/error.h"

namespace kurultai {

using Duration = std::chrono::milliseconds;
using TimePoint = std::chrono::steady_clock::time_point;  // for deadlines: never jumps
using WallTime = std::chrono::system_clock::time_point;   // for people and records

/// Reads `250ms`, `5s`, `1.5s`, `10m`, `1h30m`, `7d`, `0`. Refuses a number without a unit other than 0,
/// negative ones, and more than 73 years. Units are in lower case, as in systemd, where `M` is a month.
Result<Duration> parse_duration(std::string_view text);

/// The largest unit that is exact: `90s`, `10m`, `250ms`; `0s`.
std::string to_string(Duration duration);

/// RFC 3339, UTC, milliseconds: `2026-03-01T12:00:00.000Z`.
std::string to_rfc3339(WallTime time);

}  // namespace kurultai
