#include "tests/fuzz/expected_requests.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <regex>

namespace kurultai::fuzz {

namespace {

using Lines = std::vector<std::string>;

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool matches(const std::string& text, const std::string& pattern) {
  static std::map<std::string, std::regex> compiled;
  const auto [known, is_new] = compiled.try_emplace(pattern);
  if (is_new) known->second = std::regex(pattern, std::regex::ECMAScript | std::regex::optimize);
  return std::regex_match(text, known->second);
}

/// No CR, LF or other control but the tab.
bool is_clean(const std::string& line) {
  return std::ranges::none_of(line, [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

/// The lines up to an empty one, each ended by CRLF; `at` moves behind it. Nothing: there is no end yet.
std::optional<Lines> lines_to_blank(std::string_view bytes, std::size_t& at) {
  Lines lines;
  std::size_t next = at;
  while (true) {
    const std::size_t end = bytes.find("\r\n", next);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string line(bytes.substr(next, end - next));
    next = end + 2;
    if (line.empty()) break;
    lines.push_back(line);
  }
  at = next;
  return lines;
}

bool is_host(const std::string& text) {
  return matches(text, R"((\[[0-9A-Fa-f:.]+\]|[-A-Za-z0-9._~!$&'()*+,;=]+)(:[0-9]{1,5})?)");
}

bool is_target(const std::string& method, const std::string& target) {
  static const std::string rest = R"(([-A-Za-z0-9._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*)";
  if (target == "*") return method == "OPTIONS";
  if (matches(target, "/" + rest)) return true;
  if (lower(target.substr(0, 7)) != "http://") return false;
  const std::string address = target.substr(7);
  const std::size_t end = std::min(address.find_first_of("/?"), address.size());
  return is_host(address.substr(0, end)) && matches(address.substr(end), rest);
}

enum class Verdict { good, bad, unknown };

struct Head {
  ExpectedRequest request;
  std::string version;
};

Verdict read_head(const Lines& lines, const Limits& limits, Head& head) {
  if (!std::ranges::all_of(lines, is_clean)) return Verdict::bad;
  std::smatch part;
  static const std::regex request_line("([^ ]+) ([^ ]+) HTTP/(1\\.[01])");
  if (!std::regex_match(lines[0], part, request_line)) return Verdict::bad;
  ExpectedRequest& request = head.request;
  request.method = part[1];
  request.target = part[2];
  head.version = part[3];
  static const std::string methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
  if (std::ranges::find(methods, request.method) == std::end(methods)) return Verdict::unknown;
  if (!is_target(request.method, request.target)) return Verdict::bad;
  if (lines.size() - 1 > limits.headers) return Verdict::bad;
  static const std::string once[] = {"host",          "content-length", "transfer-encoding", "expect",
                                     "authorization", "origin",         "content-type"};
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::size_t colon = lines[i].find(':');
    if (colon == std::string::npos) return Verdict::bad;
    const std::string name = lower(lines[i].substr(0, colon));
    if (!matches(name, "[-!#$%&'*+.^_`|~0-9a-z]+")) return Verdict::bad;
    std::string value = lines[i].substr(colon + 1);
    value.erase(0, std::min(value.find_first_not_of(" \t"), value.size()));
    value.erase(value.find_last_not_of(" \t") + 1);
    const auto [slot, is_new] = request.headers.try_emplace(name, value);
    if (is_new) continue;
    if (std::ranges::find(once, name) != std::end(once)) return Verdict::bad;
    slot->second += ", " + value;
  }
  const auto& headers = request.headers;
  if (headers.contains("host") ? !is_host(headers.at("host")) : head.version == "1.1") return Verdict::bad;
  if (headers.contains("expect") && lower(headers.at("expect")) != "100-continue" &&
      !headers.at("expect").empty())
    return Verdict::bad;
  if (headers.contains("transfer-encoding") && (headers.contains("content-length") || head.version == "1.0" ||
                                                lower(headers.at("transfer-encoding")) != "chunked"))
    return Verdict::bad;
  if (headers.contains("content-length") && !matches(headers.at("content-length"), "[0-9]+"))
    return Verdict::bad;
  if (head.request.target[0] == 'h' || head.request.target[0] == 'H') {
    const std::string address = request.target.substr(7);
    request.headers["host"] = address.substr(0, std::min(address.find_first_of("/?"), address.size()));
  }
  return Verdict::good;
}

using End = Expected::End;

/// Nothing: the body was read.
std::optional<End> read_chunks(std::string_view bytes, std::size_t& at, std::size_t most, std::string& body) {
  while (true) {
    const std::size_t end = bytes.find("\r\n", at);
    if (end == std::string_view::npos) return End::more;
    const std::string line(bytes.substr(at, end - at));
    if (line.find(';') != std::string::npos) return End::open;
    if (!matches(line, "[0-9A-Fa-f]+") || line.size() > 256) return End::refused;
    const std::string digits = line.substr(std::min(line.find_first_not_of('0'), line.size()));
    if (digits.size() > 8) return End::refused;
    const std::size_t size = digits.empty() ? 0 : std::stoul(digits, nullptr, 16);
    at = end + 2;
    if (size == 0) break;
    if (body.size() + size > most) return End::refused;
    if (bytes.size() - at < size + 2) return End::more;
    body += bytes.substr(at, size);
    if (bytes.substr(at + size, 2) != "\r\n") return End::refused;
    at += size + 2;
  }
  const auto trailers = lines_to_blank(bytes, at);
  if (!trailers) return End::more;
  const bool good = std::ranges::all_of(*trailers, [](const std::string& line) {
    return is_clean(line) && line.size() <= 256 && matches(line, "[-!#$%&'*+.^_`|~0-9A-Za-z]+:[^]*");
  });
  // llhttp reads some trailers as if they were headers, and refuses more than need be.
  if (!good) return End::refused;
  return trailers->empty() ? std::nullopt : std::optional(End::open);
}

std::optional<End> read_body(std::string_view bytes, std::size_t& at, std::size_t most,
                             ExpectedRequest& request) {
  if (request.headers.contains("transfer-encoding")) return read_chunks(bytes, at, most, request.body);
  if (!request.headers.contains("content-length")) return {};
  std::string digits = request.headers.at("content-length");
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.size() > 8) return End::refused;
  const std::size_t size = digits.empty() ? 0 : std::stoul(digits);
  if (size > most) return End::refused;
  if (bytes.size() - at < size) return End::more;
  request.body = bytes.substr(at, size);
  at += size;
  return {};
}

/// Nothing: the next request may follow.
std::optional<End> after(const Head& head) {
  for (const char* name : {"upgrade", "proxy-connection"}) {
    if (head.request.headers.contains(name)) return End::open;
  }
  const auto connection = head.request.headers.find("connection");
  if (connection == head.request.headers.end())
    return head.version == "1.1" ? std::nullopt : std::optional(End::closed);
  const std::string word = lower(connection->second);
  if (word == "close") return End::closed;
  return word == "keep-alive" ? std::nullopt : std::optional(End::open);
}

}  // namespace

Expected expected_requests(std::string_view bytes, const Limits& limits) {
  Expected expected;
  std::size_t at = 0;
  while (true) {
    const std::size_t start = at;
    while (bytes.substr(at, 2) == "\r\n") at += 2;
    const auto lines = lines_to_blank(bytes, at);
    if (!lines) return expected;
    const auto end_with = [&expected](End end) {
      expected.end = end;
      return expected;
    };
    if (at - start > limits.head) return end_with(End::refused);
    Head head;
    const Verdict verdict = read_head(*lines, limits, head);
    if (verdict != Verdict::good) return end_with(verdict == Verdict::bad ? End::refused : End::open);
    if (const auto end = read_body(bytes, at, limits.body, head.request)) return end_with(*end);
    expected.requests.push_back(head.request);
    if (const auto end = after(head)) return end_with(*end);
  }
}

}  // namespace kurultai::fuzz
