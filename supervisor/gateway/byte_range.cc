#include "supervisor/gateway/byte_range.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace kurultai {

namespace {

/// A number too large to be held is as good as the largest.
std::optional<std::int64_t> read_position(std::string_view text) {
  const bool digits = !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) return {};
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc::result_out_of_range ? std::numeric_limits<std::int64_t>::max() : number;
}

}  // namespace

AskedRange asked_range(std::string_view header, std::int64_t size) {
  static constexpr std::string_view unit = "bytes=";
  if (!header.starts_with(unit)) return {};
  header.remove_prefix(unit.size());
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos) return {};
  const std::string_view from = header.substr(0, dash);
  const std::string_view to = header.substr(dash + 1);
  const auto first = read_position(from);
  const auto last = read_position(to);
  if ((!first && !from.empty()) || (!last && !to.empty())) return {};
  if (!first && !last) return {};
  if (first && last && *last < *first) return {};
  if (!first) {  // the last so many
    const std::int64_t length = std::min(*last, size);
    if (length == 0) return {RangeAnswer::unsatisfiable};
    return {RangeAnswer::part, {size - length, length}};
  }
  if (*first >= size) return {RangeAnswer::unsatisfiable};
  const std::int64_t end = last ? std::min(*last, size - 1) : size - 1;
  return {RangeAnswer::part, {*first, end - *first + 1}};
}

}  // namespace kurultai
