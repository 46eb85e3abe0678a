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

void LineWriter::start_field(std::string_view name) {
  line_.append(line_.size() == 1 ? "\"" : ",\"").append(name).append("\":");
}

LineWriter& LineWriter::text(std::string_view name, std::string_view value) {
  start_field(name);
  append_quoted(line_, value);
  return *this;
}

LineWriter& LineWriter::flag(std::string_view name, bool value) {
  return raw(name, value ? "true" : "false");
}

LineWriter& LineWriter::real(std::string_view name, double value) {
  std::array<char, 32> digits{};
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), std::isfinite(value) ? value : 0.0);
  return raw(name, {digits.data(), end});
}

LineWriter& LineWriter::raw(std::string_view name, std::string_view json) {
  start_field(name);
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
