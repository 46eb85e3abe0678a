// `Range: bytes=…` of RFC 9110, 14: which part of something is asked for. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace kurultai {

struct ByteRange {
  std::int64_t first = 0;
  std::int64_t length = 0;
  bool operator==(const ByteRange&) const = default;
};

enum class RangeAnswer : unsigned char { whole, part, unsatisfiable };

struct AskedRange {
  RangeAnswer answer = RangeAnswer::whole;
  ByteRange part = {};
  bool operator==(const AskedRange&) const = default;
};

/// Of something of `size` bytes. All of it for a header that is absent, that asks for several parts, or that
/// is not understood, as the RFC wants it.
AskedRange asked_range(std::string_view header, std::int64_t size);

}  // namespace kurultai
