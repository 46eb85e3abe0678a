#include "tools/kurultai/trace.h"

#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>

#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

constexpr std::size_t longest_line = 256;
constexpr std::size_t shown_of_line = 40;
constexpr double missing = std::numeric_limits<double>::quiet_NaN();

std::string_view without_blanks(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::optional<double> number_of(std::string_view text) {
  if (text.empty()) return missing;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Whatever the columns are called.
bool is_heading(std::string_view line) {
  return !line.empty() && std::isalpha(static_cast<unsigned char>(line.front())) != 0 && line.contains(',');
}

std::unexpected<Complaint> bad_file(const std::string& file, const std::string& cause) {
  return complaint(ExitStatus::usage, file + cause);
}

std::unexpected<Complaint> unreadable_trace(const std::string& file, int code) {
  const auto status = code == ENOENT ? ExitStatus::no_such_thing : ExitStatus::usage;
  return complaint(status, file + ": " + std::strerror(code));
}

std::unexpected<Complaint> bad_line(const std::string& file, std::size_t number, std::string_view line) {
  return bad_file(file, ":" + std::to_string(number) + ": '" + shorten(printable(line), shown_of_line) +
                            "' is not seconds,bytes");
}

}  // namespace

std::optional<TraceReading> parse_trace_line(std::string_view line) {
  const auto comma = line.find(',');
  if (comma == std::string_view::npos) return std::nullopt;
  const auto seconds = number_of(without_blanks(line.substr(0, comma)));
  const auto bytes = number_of(without_blanks(line.substr(comma + 1)));
  if (!seconds || !bytes || *bytes < 0) return std::nullopt;
  return TraceReading{*seconds, *bytes};
}

Answer<std::size_t> for_each_reading(const std::string& file, const std::function<void(TraceReading)>& take) {
  const std::unique_ptr<FILE, int (*)(FILE*)> stream(std::fopen(file.c_str(), "re"), std::fclose);
  if (!stream) return unreadable_trace(file, errno);
  std::array<char, longest_line> buffer{};
  std::size_t readings = 0;
  for (std::size_t number = 1; std::fgets(buffer.data(), buffer.size(), stream.get()) != nullptr; ++number) {
    const std::string_view text(buffer.data());
    const bool is_whole = text.ends_with('\n') || std::feof(stream.get()) != 0;
    const std::string_view line = without_blanks(text);
    if (line.empty() && is_whole) continue;
    if (number == 1 && is_heading(line)) continue;
    const auto reading = is_whole ? parse_trace_line(line) : std::nullopt;
    if (!reading) return bad_line(file, number, line);
    take(*reading);
    ++readings;
  }
  if (std::ferror(stream.get()) != 0) return unreadable_trace(file, errno);
  if (readings == 0) return bad_file(file, ": holds no readings");
  return readings;
}

Answer<Trace> read_trace(const std::string& file) {
  Trace trace;
  const auto readings = for_each_reading(file, [&trace](TraceReading reading) {
    if (!trace.series.add(reading.seconds, reading.bytes)) ++trace.left_out;
  });
  if (!readings) return std::unexpected(readings.error());
  if (trace.series.readings() == 0) return bad_file(file, ": all its readings are missing");
  return trace;
}

}  // namespace kurultai
