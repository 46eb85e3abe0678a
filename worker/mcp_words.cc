#include "worker/mcp_words.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "protocol/json_rpc.h"
#include "protocol/json_text.h"
#include "protocol/line_writer.h"
#include "protocol/utf8.h"
#include "protocol/version.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr std::string_view known_versions[] = {"2025-11-25", mcp_version, "2025-03-26", "2024-11-05"};
constexpr std::size_t longest_error = 4096;
constexpr std::size_t longest_name = 128;
constexpr std::size_t longest_log = 16000;

/// The text of a member, empty where there is none.
std::string text_of(const json& object, std::string_view member) {
  if (!object.is_object()) return {};
  const auto found = object.find(member);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const json& member_of(const json& object, std::string_view member) {
  static const json nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(member);
  return found == object.end() ? nothing : *found;
}

std::string file_uri(const std::string& path) {
  constexpr std::string_view plain = "/-._~";
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string uri = "file://";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x80 && std::isalnum(byte) != 0) || plain.contains(c)) {
      uri += c;
    } else {
      uri += {'%', hex[byte >> 4], hex[byte & 15]};
    }
  }
  return uri;
}

/// The eight levels of RFC 5424, in the words that LOG has.
std::string_view level_of(const std::string& level) {
  if (level == "debug") return "debug";
  if (level == "warning") return "warn";
  for (const std::string_view bad : {"error", "critical", "alert", "emergency"}) {
    if (level == bad) return "error";
  }
  return "info";
}

std::string_view method_of(McpCall::Kind kind) {
  switch (kind) {
    case McpCall::Kind::tool:
      return "tools/call";
    case McpCall::Kind::resource:
      return "resources/read";
    case McpCall::Kind::prompt:
      return "prompts/get";
    case McpCall::Kind::method:
      return {};  // is its name
  }
  __builtin_unreachable();
}

}  // namespace

JsonText initialize_params(bool has_root) {
  const std::string capabilities = has_root ? R"({"roots":{"listChanged":false}})" : "{}";
  const std::string who = LineWriter().text("name", "kurultai").text("version", project_version).object();
  return LineWriter()
      .text("protocolVersion", mcp_version)
      .raw("capabilities", capabilities)
      .raw("clientInfo", who)
      .object();
}

Result<ServerFacts> read_initialize_result(const json& result) {
  const std::string version = text_of(result, "protocolVersion");
  if (std::ranges::find(known_versions, version) == std::end(known_versions)) {
    std::string known;
    for (const std::string_view one : known_versions) known.append(known.empty() ? "" : ", ").append(one);
    return failure("it speaks MCP '" + std::string(utf8_prefix(version, 64)) + "', and none of " + known);
  }
  ServerFacts facts;
  facts.name = utf8_prefix(text_of(member_of(result, "serverInfo"), "name"), longest_name);
  facts.has_tools = member_of(member_of(result, "capabilities"), "tools").is_object();
  return facts;
}

std::string mcp_request(std::int64_t id, const McpCall& call) {
  if (call.kind == McpCall::Kind::method)
    return rpc_request(id, call.name, call.arguments.empty() ? "{}" : call.arguments);
  LineWriter params(call.arguments.size());
  params.text(call.kind == McpCall::Kind::resource ? "uri" : "name", call.name);
  // Servers differ in whether a tool without parameters may be called without an object.
  if (!call.arguments.empty() || call.kind == McpCall::Kind::tool)
    params.raw("arguments", call.arguments.empty() ? "{}" : call.arguments);
  params.raw("_meta", LineWriter().whole("progressToken", id).object());
  return rpc_request(id, method_of(call.kind), params.object());
}

std::string mcp_cancellation(std::int64_t id, std::string_view reason) {
  return rpc_notification("notifications/cancelled",
                          LineWriter().whole("requestId", id).text("reason", reason).object());
}

JsonText roots_result(const std::string& directory) {
  if (directory.empty()) return R"({"roots":[]})";
  const std::string root = LineWriter().text("uri", file_uri(directory)).text("name", "cwd").object();
  return R"({"roots":[)" + root + "]}";
}

std::optional<ToldProgress> read_progress(const json& params) {
  const auto id = rpc_own_id(member_of(params, "progressToken"));
  const json& progress = member_of(params, "progress");
  if (!id || !progress.is_number()) return std::nullopt;
  const json& total = member_of(params, "total");
  ToldProgress told{*id, {}};
  told.progress.message = text_of(params, "message");
  if (total.is_number() && total.get<double>() > 0) {
    told.progress.percent = std::clamp(progress.get<double>() / total.get<double>() * 100, 0.0, 100.0);
  } else if (told.progress.message.empty()) {
    told.progress.message = to_text(progress);  // so that one step can be told from the next
  }
  return told;
}

Log read_log_message(const json& params) {
  const json& data = member_of(params, "data");
  const std::string logger = text_of(params, "logger");
  std::string text = logger.empty() ? "" : logger + ": ";
  text += data.is_string() ? data.get_ref<const std::string&>() : to_text(data);
  return Log{std::string(level_of(text_of(params, "level"))), std::string(utf8_prefix(text, longest_log))};
}

bool is_tool_error(const json& result) { return member_of(result, "isError") == true; }

std::string tool_error_text(const json& result) {
  std::string text;
  const json& content = member_of(result, "content");
  for (const json& part : content.is_array() ? content : json::array()) {
    const std::string piece = text_of(part, "text");
    if (piece.empty() || text.size() > longest_error) continue;
    text.append(text.empty() ? "" : "\n").append(piece);
  }
  return text.empty() ? "the tool failed and does not say why"
                      : std::string(utf8_prefix(text, longest_error));
}

}  // namespace kurultai
