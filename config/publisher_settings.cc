#include <algorithm>

#include "config/near_name.h"
#include "config/setting_row.h"
#include "protocol/event_names.h"

namespace kurultai {
namespace {

constexpr std::string_view url_pattern = "^(https?://[^\\s/?#@]+([/?][^\\s#]*)?)?$";

/// The rest of an address is its server's affair.
std::optional<std::string> web_address(std::string_view text) {
  if (text.empty()) return std::nullopt;
  // Where there may be a password in it, nothing of it is repeated.
  if (text.find('@') != std::string_view::npos &&
      text.find_first_of("/?", text.find("//") + 2) > text.find('@'))
    return std::string("an address with a password would be shown to everybody; write it into url_file");
  const std::string shown = text.find('@') == std::string_view::npos ? in_quotes(text) : "this";
  const std::size_t scheme = text.starts_with("https://") ? 8 : text.starts_with("http://") ? 7 : 0;
  if (scheme == 0) return shown + " is no address: it begins with http:// or https://";
  const bool is_plain =
      std::ranges::all_of(text, [](unsigned char c) { return c > ' ' && c < 0x7F && c != '#'; });
  if (!is_plain)
    return shown + " is no address: a space, a # or another character that has to be written as %XX";
  const std::string_view host = text.substr(scheme, text.find_first_of("/?", scheme) - scheme);
  if (host.empty()) return shown + " is no address: there is no host in it";
  return std::nullopt;
}

std::optional<std::string> event_name(std::string_view text) {
  static const std::vector<std::string> known(std::begin(event_names), std::end(event_names));
  if (std::ranges::find(known, text) != known.end()) return std::nullopt;
  return "there is no event " + in_quotes(text) + meant_or_known(text, known);
}

/// May stand in a label of a metric.
std::optional<std::string> publisher_name(std::string_view text) {
  if (text.empty() || wrong_agent_name(text).empty()) return std::nullopt;
  return in_quotes(text) + " is no name: 1 to 64 letters, digits, _, . and -";
}

struct EventNames {
  static std::optional<std::vector<std::string>> read(const YamlNode& node, const Refuse& refuse) {
    return Texts{{"an event", event_name, ""}, true}.read(node, refuse);
  }
  static Json print(const std::vector<std::string>& value) { return value; }
  static Json schema() { return {{"type", "array"}, {"items", {{"enum", event_names}}}}; }
};

template <typename Type, typename Access>
void add(std::vector<Setting<PublisherConfig>>& table, std::string path, std::string about, const Type& type,
         Access access) {
  table.push_back(
      setting_row<PublisherConfig>(std::move(path), Applies::live, std::move(about), type, access));
}

std::vector<Setting<PublisherConfig>> make_publisher_settings() {
  using std::chrono::hours;
  using std::chrono::milliseconds;
  std::vector<Setting<PublisherConfig>> table;
  add(table, "name", "What it is called; \"\": as its type", Text{"a name", publisher_name, ""},
      field(&PublisherConfig::name));
  add(table, "type", "webhook: events are sent with POST, as JSON",
      Choice<PublisherType>{{{"webhook", PublisherType::webhook}}}, field(&PublisherConfig::type));
  add(table, "url", "Where to, as in https://ops.example.org/kurultai; \"\": what url_file holds",
      Text{"an address", web_address, url_pattern}, field(&PublisherConfig::url));
  add(table, "url_file", "A file whose first line is the address, where that is a secret itself",
      Text{"a path", any_text, ""}, field(&PublisherConfig::url_file));
  add(table, "token_file", "A file whose first line is sent as `Authorization: Bearer`; \"\": none",
      Text{"a path", any_text, ""}, field(&PublisherConfig::token_file));
  add(table, "events", "Which events; []: all of them", EventNames{}, field(&PublisherConfig::events));
  add(table, "timeout", "How long one request may take", TimeSpan{milliseconds(1), hours(1)},
      field(&PublisherConfig::timeout));
  add(table, "connect_timeout", "How long of it may pass until there is a connection",
      TimeSpan{milliseconds(1), hours(1)}, field(&PublisherConfig::connect_timeout));
  add(table, "buffer", "How much of what was not delivered yet is kept; the oldest events make room",
      Size{kibibytes(4), mebibytes(64)}, field(&PublisherConfig::buffer));
  return table;
}

}  // namespace

const std::vector<Setting<PublisherConfig>>& publisher_settings() {
  static const std::vector<Setting<PublisherConfig>> table = make_publisher_settings();
  return table;
}

}  // namespace kurultai
