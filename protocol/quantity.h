// A decimal number and its unit, as in `1.5GiB` and `250ms`, without floating point.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace kurultai {

struct Quantity {
  std::string_view whole, fraction;  // digits; fraction is empty when there was no point
  std::string_view unit;             // letters, perhaps none
};

/// Takes one quantity from the beginning of `text`: digits, `.` and digits, blanks, letters. Empty when there
/// is none.
std::optional<Quantity> take_quantity(std::string_view& text);

/// `quantity` × `unit`, rounded down. Empty when it overflows.
std::optional<std::int64_t> multiply(const Quantity& quantity, std::int64_t unit);

}  // namespace kurultai
