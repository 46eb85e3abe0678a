#include "tools/kurultai/mcp/message.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "protocol/json_rpc.h"
#include "protocol/json_text.h"
#include "tools/kurultai/fields.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr std::string_view known_versions[] = {"2025-06-18", "2025-03-26", "2024-11-05"};
// It is kept for each open request, and sent back.
constexpr std::size_t longest_id = 1024;

/// MCP allows no null, and JSON-RPC no other types.
bool is_id(const json& id) { return id.is_string() || id.is_number(); }

}  // namespace

ClientMessage read_client_message(const json& message) {
  if (!message.is_object()) return BadMessage{"null", rpc_invalid_request, "a message is one JSON object"};
  const json& id = field(message, "id");
  const bool has_id = message.contains("id");
  JsonText id_text = is_id(id) ? to_text(id) : "null";
  const auto bad = [&](const char* why) { return BadMessage{id_text, rpc_invalid_request, why}; };
  if (id_text.size() > longest_id) {
    id_text = "null";
    return bad("'id' is longer than 1 KiB");
  }
  if (field(message, "jsonrpc") != "2.0") return bad("'jsonrpc' must be \"2.0\"");
  const json& method = field(message, "method");
  if (!message.contains("method")) {
    if (message.contains("result") || message.contains("error")) return ClientAnswer{};
    return bad("'method' is missing");
  }
  if (!method.is_string()) return bad("'method' must be a text");
  const json& params = field(message, "params");
  if (!params.is_null() && !params.is_object())
    return BadMessage{id_text, rpc_invalid_params, "'params' must be an object"};
  if (!has_id) return ClientNotification{method.get<std::string>(), params};
  if (!is_id(id)) return bad("'id' must be a text or a number");
  return ClientRequest{id_text, method.get<std::string>(), params};
}

JsonText progress_token(const json& params) {
  const json& token = field(field(params, "_meta"), "progressToken");
  if (!is_id(token)) return {};
  JsonText text = to_text(token);
  return text.size() > longest_id ? JsonText() : text;
}

std::string_view negotiate_version(std::string_view wanted) {
  const auto known = std::ranges::find(known_versions, wanted);
  return known == std::end(known_versions) ? known_versions[0] : *known;
}

}  // namespace kurultai
