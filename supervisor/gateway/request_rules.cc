#include "supervisor/gateway/request_rules.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace kurultai {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool all_digits(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_digit); }

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Letters, digits and `others`, by their codes: every byte of a header is looked up.
class CharSet {
 public:
  constexpr explicit CharSet(std::string_view others) {
    for (const char* range : {"az", "AZ", "09"}) {
      for (char c = range[0]; c <= range[1]; ++c) put(c);
    }
    for (const char c : others) put(c);
  }
  constexpr bool operator()(char c) const { return has_[static_cast<unsigned char>(c)]; }

 private:
  constexpr void put(char c) { has_[static_cast<unsigned char>(c)] = true; }

  std::array<bool, 256> has_{};
};

constexpr CharSet plain_characters("-._~!$&'()*+,;=");  // RFC 3986: unreserved and sub-delims
constexpr CharSet is_in_token("!#$%&'*+-.^_`|~");       // RFC 9110, 5.6.2
constexpr CharSet is_in_target("-._~!$&'()*+,;=:@/?%");

std::optional<std::string> percent_decoded(std::string_view text, bool plus_is_space) {
  if (text.find_first_of("%+") == std::string_view::npos) return std::string(text);  // as nearly all are
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += plus_is_space && text[i] == '+' ? ' ' : text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

bool read_query(std::string_view text, std::map<std::string, std::string>& query) {
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    auto name = percent_decoded(pair.substr(0, equals), true);
    auto value = percent_decoded(pair.substr(std::min(equals + 1, pair.size())), true);
    if (!name || !value) return false;
    query[*std::move(name)] = *std::move(value);
  }
  return true;
}

RequestFault bad(std::string why) { return {400, std::move(why)}; }

/// Origin form, or absolute form, of which the authority counts more than Host (RFC 9112, 3.2.2).
std::optional<RequestFault> read_target(HttpRequest& request) {
  std::string_view target = request.target;
  static constexpr std::string_view scheme = "http://";
  if (target == "*" && request.method == "OPTIONS") {
    request.path = target;
    return {};
  }
  if (lower_case(std::string(target.substr(0, scheme.size()))) == scheme) {
    target.remove_prefix(scheme.size());
    const std::string_view authority = target.substr(0, target.find_first_of("/?"));
    if (!is_authority(authority)) return bad("the request target has no valid host");
    request.headers["host"] = authority;
    target.remove_prefix(authority.size());
  } else if (!target.starts_with('/')) {
    return bad("the request target is neither a path nor an http address");
  }
  if (!std::ranges::all_of(target, is_in_target))
    return bad("the request target has a character that must be percent-encoded");
  const std::size_t question = std::min(target.find('?'), target.size());
  auto path = percent_decoded(target.substr(0, question), false);
  if (!path || !read_query(target.substr(std::min(question + 1, target.size())), request.query))
    return bad("the request target has a percent sign without two hexadecimal digits");
  request.path = path->empty() ? "/" : *std::move(path);
  return {};
}

std::optional<RequestFault> check_body_coding(const HttpRequest& request) {
  const auto length = request.headers.find("content-length");
  const auto coding = request.headers.find("transfer-encoding");
  const bool has_length = length != request.headers.end();
  if (has_length && !all_digits(length->second)) return bad("Content-Length is not a number");
  if (coding == request.headers.end()) return {};
  if (request.is_http_1_0) return bad("HTTP/1.0 has no Transfer-Encoding");
  if (has_length) return bad("Content-Length and Transfer-Encoding exclude each other");
  if (lower_case(coding->second) != "chunked")
    return bad("chunked is the one Transfer-Encoding that is understood");
  return {};
}

std::optional<RequestFault> check_host(const HttpRequest& request) {
  const auto host = request.headers.find("host");
  if (host != request.headers.end())
    return is_authority(host->second) ? std::nullopt : std::optional(bad("the Host header is no valid host"));
  // Health checks of load balancers speak HTTP/1.0 without one; browsers never do.
  return request.is_http_1_0 ? std::nullopt : std::optional(bad("the request has no Host header"));
}

}  // namespace

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::optional<std::string_view> RequestLines::take(std::string_view bytes) {
  for (const char c : bytes) {
    taken_ += 1;
    if (left_ == 0) return "more around the body than in it";  // the head is cut before it comes to this
    left_ -= 1;
    if (std::exchange(after_return_, false)) {
      if (c != '\n') return "a CR without LF";
      if (const auto wrong = end_line()) return wrong;
      continue;
    }
    if (c == '\r') {
      after_return_ = true;
      after_chunk_ = false;
      continue;
    }
    if (after_chunk_) return "a chunk that is longer than its size";
    if (c == '\n') return "a line that ends with LF alone";
    if (line_ == 0 && (c == ' ' || c == '\t')) return "a line that begins with a blank";
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) return "a control character";
    if (part_ == Part::fields && in_name_) {
      if (c == ':' ? line_ == 0 : !is_in_token(c)) return "a header whose name is no token";
      in_name_ = c != ':';
    }
    line_ += 1;
    if (in_body_ && line_ > max_body_line) return "a chunk's line that is too long";
  }
  return {};
}

std::optional<std::string_view> RequestLines::end_line() {
  if (part_ == Part::fields && in_name_ && line_ > 0) return "a header without a colon";
  if (part_ == Part::request_line && line_ > 0) {
    request_line_ = line_;
    part_ = Part::fields;
  }
  line_ = 0;
  in_name_ = true;
  return {};
}

void RequestLines::begin_body() {
  part_ = Part::chunks;
  in_body_ = true;
  left_ = free_body_lines;
}

bool may_repeat(std::string_view name) {
  static constexpr std::string_view single[] = {
      "host", "content-length", "transfer-encoding", "expect", "authorization", "origin", "content-type"};
  return std::ranges::find(single, name) == std::end(single);
}

bool is_authority(std::string_view text) {
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return false;
    port = text.substr(end + 1);
    text = text.substr(1, end - 1);
    if (!std::ranges::all_of(text, [](char c) { return hex_digit(c) >= 0 || c == ':' || c == '.'; }))
      return false;
  } else {
    port = text.substr(std::min(text.find(':'), text.size()));
    text.remove_suffix(port.size());
    if (!std::ranges::all_of(text, plain_characters)) return false;
  }
  if (text.empty()) return false;
  return port.empty() || (port.starts_with(':') && port.size() <= 6 && all_digits(port.substr(1)));
}

std::optional<RequestFault> read_head(HttpRequest& request, std::size_t request_line) {
  static constexpr std::string_view around = "  HTTP/1.1";
  if (request_line != request.method.size() + request.target.size() + around.size())
    return bad("the request line has more than one blank in a row");
  if (auto fault = check_host(request)) return fault;
  if (auto fault = read_target(request)) return fault;
  if (auto fault = check_body_coding(request)) return fault;
  const std::string expected = lower_case(std::string(request.header("expect")));
  if (!expected.empty() && expected != "100-continue")
    return RequestFault{417, "100-continue is all that may be expected"};
  return {};
}

}  // namespace kurultai
