#include "protocol/quantity.h"

#include <charconv>
#include <limits>

namespace kurultai {
namespace {

constexpr std::string_view digits = "0123456789";
constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

std::string_view take_any_of(std::string_view& text, std::string_view set) {
  const std::string_view taken = text.substr(0, text.find_first_not_of(set));
  text.remove_prefix(taken.size());
  return taken;
}

// Empty when it does not fit.
std::optional<std::int64_t> to_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

}  // namespace

std::optional<Quantity> take_quantity(std::string_view& text) {
  Quantity quantity;
  quantity.whole = take_any_of(text, digits);
  if (quantity.whole.empty()) return std::nullopt;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    quantity.fraction = take_any_of(text, digits);
    if (quantity.fraction.empty()) return std::nullopt;
  }
  take_any_of(text, " \t");
  quantity.unit = take_any_of(text, letters);
  return quantity;
}

std::optional<std::int64_t> multiply(const Quantity& quantity, std::int64_t unit) {
  const std::optional<std::int64_t> whole = to_number(quantity.whole);
  if (!whole) return std::nullopt;
  using Wide = unsigned __int128;
  Wide part = 0, scale = 1;
  for (const char digit : quantity.fraction.substr(0, 18)) {  // 10^18 × 2^60 is below 2^128
    part = part * 10 + static_cast<unsigned>(digit - '0');
    scale *= 10;
  }
  const Wide product =
      static_cast<Wide>(*whole) * static_cast<Wide>(unit) + part * static_cast<Wide>(unit) / scale;
  if (product > static_cast<Wide>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return static_cast<std::int64_t>(product);
}

}  // namespace kurultai
