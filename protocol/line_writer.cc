#include "protocol/line_writer.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "protocol/json_text.h"

namespace kurultai {

LineWriter::LineWriter(std::string_view type, std::size_t expected_size) {
  line_.reserve(256 + expected_size);
  line_.append("{\"type\":\"").append(type).append("\"");
}

LineWriter::LineWriter(std::size_t expected_size) {
  line_.reserve(256 + expected_size);
  line_.append("{");
}

/// One step for all parts of a field: growing and measuring the text at each costs more than the copying.
void LineWriter::put(std::initializer_list<std::string_view> parts) {
  const std::size_t before = line_.size();
  std::size_t size = before;
  for (const std::string_view part : parts) size += part.size();
  line_.resize_and_overwrite(size, [&](char* text, std::size_t) {
    char* at = text + before;
    for (const std::string_view part : parts) at += part.copy(at, part.size());
    return size;
  });
}

LineWriter& LineWriter::text(std::string_view name, std::string_view value) {
  if (is_plain(value)) {
    put({before_name(), name, "\":\"", value, "\""});
  } else {
    put({before_name(), name, "\":"});
    append_quoted(line_, value);
  }
  return *this;
}

LineWriter& LineWriter::flag(std::string_view name, bool value) {
  return plain(name, value ? "true" : "false");
}

LineWriter& LineWriter::real(std::string_view name, double value) {
  std::array<char, 32> digits{};
  // -0 would come back as the whole number 0.
  const bool is_plain_number = std::isfinite(value) && value != 0;
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), is_plain_number ? value : 0.0);
  return plain(name, {digits.data(), end});
}

/// What has no newline.
LineWriter& LineWriter::plain(std::string_view name, std::string_view json) {
  put({before_name(), name, "\":", json});
  return *this;
}

LineWriter& LineWriter::raw(std::string_view name, std::string_view json) {
  put({before_name(), name, "\":"});
  std::size_t at = line_.size();
  line_.append(json.empty() ? "null" : json);
  while ((at = line_.find('\n', at)) != std::string::npos) line_[at] = ' ';
  return *this;
}

std::string LineWriter::line() {
  line_.append("}\n");
  return std::move(line_);
}

std::string LineWriter::object() {
  line_.append("}");
  return std::move(line_);
}

}  // namespace kurultai
