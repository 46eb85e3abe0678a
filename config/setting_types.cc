#include "config/setting_types.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "config/listen_address.h"
#include "governance/cron.h"
#include "protocol/utf8.h"

namespace kurultai {
std::string_view kind_of(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "nothing";
    case YamlNode::Kind::sequence:
      return "a list";
    case YamlNode::Kind::map:
      return "a map";
    case YamlNode::Kind::scalar:
      return "a word";
  }
  return "";
}

std::string expected_but(std::string_view expected, std::string_view found) {
  return "expected " + std::string(expected) + ", found " + std::string(found);
}

namespace {

template <typename Value>
std::string out_of_range(const std::string& shown, Value min, Value max) {
  using kurultai::to_string;
  using std::to_string;
  return shown + " is out of range: " + to_string(min) + " to " + to_string(max);
}

/// A number that YAML takes for one: quoted it would be text.
template <typename Number>
std::optional<Number> read_number(const YamlNode& node, std::string_view expected, const Refuse& refuse) {
  const auto text = read_scalar(node, expected, refuse);
  if (!text) return std::nullopt;
  Number number{};
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  const bool whole = end == text->data() + text->size();
  if (node.plain && whole && error == std::errc()) return number;
  const std::string found = in_quotes(*text) + (node.plain ? "" : " in quotes");
  const bool too_large = whole && error == std::errc::result_out_of_range;
  refuse(node.at, too_large ? found + " is out of range" : expected_but(expected, found));
  return std::nullopt;
}

bool is_one_of(std::string_view text, std::string_view more) {
  return std::all_of(text.begin(), text.end(), [more](unsigned char c) {
    return std::isalnum(c) != 0 || more.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

constexpr std::string_view whole_number = "a whole number";
constexpr std::string_view share = "a number such as 0.85";
constexpr std::string_view size = "a size such as 512MiB";
constexpr std::string_view time_span = "a duration such as 250ms, 5s or 10m";

// What parse_bytes and parse_duration take, in the notation of JSON Schema.
constexpr std::string_view size_pattern = R"(^[0-9]+(\.[0-9]+)?[ \t]*([kKmMgGtTpPeE][iI]?[bB]?|[bB])?$)";
constexpr std::string_view time_pattern = R"(^(0|([0-9]+(\.[0-9]+)?[ \t]*(ms|s|m|h|d))+)$)";

}  // namespace

std::optional<std::string_view> read_scalar(const YamlNode& node, std::string_view expected,
                                            const Refuse& refuse) {
  if (node.kind == YamlNode::Kind::scalar) return node.text;
  refuse(node.at, expected_but(expected, kind_of(node)));
  return std::nullopt;
}

std::optional<std::int64_t> WholeNumber::read(const YamlNode& node, const Refuse& refuse) const {
  const auto number = read_number<std::int64_t>(node, whole_number, refuse);
  if (!number || (*number >= min && *number <= max)) return number;
  refuse(node.at, out_of_range(node.text, min, max));
  return std::nullopt;
}

Json WholeNumber::schema() const { return {{"type", "integer"}, {"minimum", min}, {"maximum", max}}; }

std::optional<std::optional<int>> WholeNumberOr::read(const YamlNode& node, const Refuse& refuse) const {
  if (node.kind == YamlNode::Kind::scalar && node.text == word)
    return std::make_optional<std::optional<int>>(std::nullopt);
  const auto value = number.read(node, refuse);
  if (!value) return std::nullopt;
  return std::optional<int>(static_cast<int>(*value));
}

Json WholeNumberOr::print(const std::optional<int>& value) const { return value ? Json(*value) : Json(word); }

Json WholeNumberOr::schema() const { return {{"anyOf", Json::array({number.schema(), {{"const", word}}})}}; }

std::optional<double> Share::read(const YamlNode& node, const Refuse& refuse) const {
  const auto number = read_number<double>(node, share, refuse);
  if (!number) return std::nullopt;
  const bool in_range = may_be_zero ? *number >= 0 && *number < 1 : *number > 0 && *number <= 1;
  if (in_range) return number;
  const std::string_view range = may_be_zero ? "at least 0 and below 1" : "above 0 and at most 1";
  refuse(node.at, node.text + " is out of range: " + std::string(range));
  return std::nullopt;
}

Json Share::schema() const {
  if (may_be_zero) return {{"type", "number"}, {"minimum", 0}, {"exclusiveMaximum", 1}};
  return {{"type", "number"}, {"exclusiveMinimum", 0}, {"maximum", 1}};
}

std::optional<double> Factor::read(const YamlNode& node, const Refuse& refuse) const {
  const auto number = read_number<double>(node, "a number such as 1.5", refuse);
  if (!number || (*number >= min && *number <= max)) return number;
  refuse(node.at, node.text + " is out of range: " + Json(min).dump() + " to " + Json(max).dump());
  return std::nullopt;
}

Json Factor::schema() const { return {{"type", "number"}, {"minimum", min}, {"maximum", max}}; }

std::optional<Bytes> Size::read(const YamlNode& node, const Refuse& refuse) const {
  const auto text = read_scalar(node, size, refuse);
  if (!text) return std::nullopt;
  const auto bytes = parse_bytes(*text);
  if (!bytes) {
    refuse(node.at, bytes.error().message);
    return std::nullopt;
  }
  if (*bytes >= min && *bytes <= max) return *bytes;
  refuse(node.at, out_of_range(std::string(*text), min, max));
  return std::nullopt;
}

Json Size::print(Bytes value) {
  std::string text = to_string(value);
  const auto back = parse_bytes(text);
  if (back && *back == value) return text;
  return value.count;  // to_string rounds where no unit is exact
}

Json Size::schema() const {
  return {{"type", {"string", "integer"}},
          {"pattern", size_pattern},
          {"minimum", min.count},
          {"maximum", max.count}};
}

std::optional<std::optional<Bytes>> SizeOr::read(const YamlNode& node, const Refuse& refuse) const {
  if (!word.empty() && node.kind == YamlNode::Kind::scalar && node.text == word)
    return std::optional<Bytes>{};
  const auto bytes = size.read(node, refuse);
  if (!bytes) return std::nullopt;
  return bytes;
}

Json SizeOr::print(const std::optional<Bytes>& value) const {
  if (value) return Size::print(*value);
  return word.empty() ? Json(nullptr) : Json(word);
}

Json SizeOr::schema() const {
  if (word.empty()) return size.schema();
  return {{"anyOf", Json::array({size.schema(), {{"const", word}}})}};
}

std::optional<Duration> TimeSpan::read(const YamlNode& node, const Refuse& refuse) const {
  const auto text = read_scalar(node, time_span, refuse);
  if (!text) return std::nullopt;
  const auto duration = parse_duration(*text);
  if (!duration) {
    refuse(node.at, duration.error().message);
    return std::nullopt;
  }
  if (*duration >= min && *duration <= max) return *duration;
  refuse(node.at, out_of_range(std::string(*text), min, max));
  return std::nullopt;
}

Json TimeSpan::schema() const {
  Json text = {{"type", "string"}, {"pattern", time_pattern}};
  if (min > Duration::zero()) return text;
  return {{"anyOf", Json::array({text, {{"const", 0}}})}};
}

std::optional<std::vector<Duration>> TimeSpans::read(const YamlNode& node, const Refuse& refuse) const {
  if (node.kind != YamlNode::Kind::sequence || node.items.empty() || node.items.size() > most) {
    refuse(node.at, "expected a list of 1 to " + std::to_string(most) + " durations such as [1s, 2s]");
    return std::nullopt;
  }
  std::vector<Duration> all;
  for (const YamlNode& item : node.items) {
    if (const auto one = each.read(item, refuse)) all.push_back(*one);
  }
  if (all.size() != node.items.size()) return std::nullopt;
  return all;
}

Json TimeSpans::print(const std::vector<Duration>& value) {
  Json all = Json::array();
  for (const Duration duration : value) all.push_back(TimeSpan::print(duration));
  return all;
}

Json TimeSpans::schema() const {
  return {{"type", "array"}, {"items", each.schema()}, {"minItems", 1}, {"maxItems", most}};
}

std::optional<bool> Flag::read(const YamlNode& node, const Refuse& refuse) {
  const auto text = read_scalar(node, "true or false", refuse);
  if (!text) return std::nullopt;
  if (node.plain && *text == "true") return true;
  if (node.plain && *text == "false") return false;
  refuse(node.at, expected_but("true or false", in_quotes(*text) + (node.plain ? "" : " in quotes")));
  return std::nullopt;
}

std::string words_of(const std::vector<std::string_view>& words) {
  std::string all;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) all += i + 1 == words.size() ? " or " : ", ";
    all += words[i];
  }
  return all;
}

std::optional<std::size_t> read_choice(const YamlNode& node, const std::vector<std::string_view>& words,
                                       const Refuse& refuse) {
  const auto text = read_scalar(node, words_of(words), refuse);
  if (!text) return std::nullopt;
  const auto found = std::find(words.begin(), words.end(), *text);
  if (found != words.end()) return found - words.begin();
  refuse(node.at, expected_but(words_of(words), in_quotes(*text)));
  return std::nullopt;
}

std::optional<std::string> Text::read(const YamlNode& node, const Refuse& refuse) const {
  const auto text = read_scalar(node, expected, refuse);
  if (!text) return std::nullopt;
  const auto wrong = rule(*text);
  if (!wrong) return std::string(*text);
  refuse(node.at, *wrong);
  return std::nullopt;
}

Json Text::schema() const {
  Json schema = {{"type", {"string", "number", "boolean"}}};
  if (!pattern.empty()) schema["pattern"] = pattern;
  return schema;
}

std::optional<std::vector<std::string>> Texts::read(const YamlNode& node, const Refuse& refuse) const {
  if (node.kind == YamlNode::Kind::scalar) {
    refuse(node.at, "expected a list, found one word; write one item a line, or [" +
                        std::string(utf8_prefix(node.text, 40)) + "]");
    return std::nullopt;
  }
  if (node.kind != YamlNode::Kind::sequence || (node.items.empty() && !may_be_empty)) {
    const bool empty = node.kind == YamlNode::Kind::sequence;
    refuse(node.at,
           expected_but("a list such as [python3, agent.py]", empty ? "an empty one" : kind_of(node)));
    return std::nullopt;
  }
  std::vector<std::string> all;
  for (const YamlNode& item : node.items) {
    if (auto one = each.read(item, refuse)) all.push_back(*std::move(one));
  }
  if (all.size() != node.items.size()) return std::nullopt;
  return all;
}

Json Texts::schema() const {
  Json schema = {{"type", "array"}, {"items", each.schema()}};
  if (!may_be_empty) schema["minItems"] = 1;
  return schema;
}

namespace {

/// As YAML's core schema has it: null, true, 5 and 0.7 mean themselves where they stand without quotes.
Json json_of(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::null) return nullptr;
  if (node.kind == YamlNode::Kind::sequence) {
    Json list = Json::array();
    for (const YamlNode& item : node.items) list.push_back(json_of(item));
    return list;
  }
  if (node.kind == YamlNode::Kind::map) {
    Json map = Json::object();
    for (const YamlNode::Entry& entry : node.entries) map[entry.key] = json_of(entry.value);
    return map;
  }
  if (!node.plain) return node.text;
  Json value = Json::parse(node.text, nullptr, false);
  return value.is_primitive() && !value.is_discarded() && !value.is_string() ? value : Json(node.text);
}

}  // namespace

std::optional<std::string> AnyValue::read(const YamlNode& node, const Refuse& refuse) {
  std::string text = json_of(node).dump(-1, ' ', false, Json::error_handler_t::replace);
  if (is_utf8(text) && text.find("\xEF\xBF\xBD") == std::string::npos) return text;
  refuse(node.at, "the text is not UTF-8");
  return std::nullopt;
}

std::optional<std::string> any_text(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return "a NUL byte cannot stand here";
  if (!is_utf8(text)) return "the text is not UTF-8";
  return std::nullopt;
}

std::optional<std::string> variable_name(std::string_view text) {
  const bool starts_right = !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) == 0;
  if (starts_right && text.size() <= 255 && is_one_of(text, "_")) return std::nullopt;
  return in_quotes(text) + " is no name of an environment variable";
}

std::optional<std::string> variable_name_or_all(std::string_view text) {
  if (text == "*") return std::nullopt;
  return variable_name(text);
}

std::optional<std::string> account(std::string_view text) {
  const bool option = !text.empty() && text[0] == '-';
  if (!option && text.size() <= 64 && is_one_of(text, "_.-$")) return std::nullopt;
  return in_quotes(text) + " is no user's name or number, nor auto";
}

std::optional<std::string> home_directory(std::string_view text) {
  if (text.empty() || text == private_home) return std::nullopt;
  if (text[0] != '/') return in_quotes(text) + " is neither private nor a path that starts with /";
  return any_text(text);
}

std::optional<std::string> cgroup_parent(std::string_view text) {
  if (text == "self") return std::nullopt;
  if (text.empty() || text[0] != '/')
    return in_quotes(text) + " is neither self nor a path that starts with /";
  if ((std::string(text) + "/").find("/../") != std::string::npos)
    return in_quotes(text) + " must not hold ..";
  return any_text(text);
}

std::optional<std::string> listen_address(std::string_view text) {
  const auto address = parse_listen(text);
  if (address) return std::nullopt;
  return address.error().message;
}

// It is compared with what a browser sends, letter by letter.
std::optional<std::string> times_of_day(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const auto cron = Cron::parse(text);
  if (cron) return std::nullopt;
  return cron.error().message;
}

std::optional<std::string> web_origin(std::string_view text) {
  const std::string quoted = "'" + std::string(text) + "'";
  const std::string_view scheme = text.starts_with("https:") ? "https://" : "http://";
  if (!text.starts_with(scheme))
    return quoted + " is no origin: it begins with http:// or https://, and * is none";
  const std::string_view rest = text.substr(scheme.size());
  const std::size_t bracket = rest.rfind(']');
  const std::size_t colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const bool has_port = colon != std::string_view::npos;
  const std::string_view host = rest.substr(0, colon);
  const std::string_view port = has_port ? rest.substr(colon + 1) : std::string_view("1");
  const std::string_view letters =
      host.starts_with('[') ? "0123456789abcdef:.[]" : "0123456789abcdefghijklmnopqrstuvwxyz-_.";
  if (host.empty() || host.find_first_not_of(letters) != std::string_view::npos)
    return quoted + " is no origin: SCHEME://HOST or SCHEME://HOST:PORT, in small letters and without a path";
  const bool is_usual = has_port && port == (scheme == "https://" ? "443" : "80");
  if (is_usual) return quoted + ": browsers leave the usual port out";
  if (port.empty() || port.size() > 5 || port.starts_with('0') ||
      port.find_first_not_of("0123456789") != std::string_view::npos)
    return quoted + " has no port behind its colon";
  return std::nullopt;
}

}  // namespace kurultai
