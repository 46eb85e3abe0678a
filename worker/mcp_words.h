// What is said to an MCP server, and what it says in the words of our own protocol. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/mcp_call.h"
#include "protocol/messages.h"

namespace kurultai {

/// The newest that is asked for, and all that are understood.
inline constexpr std::string_view mcp_version = "2025-06-18";

/// Whether the host has a root to offer is said at the start.
JsonText initialize_params(bool has_root);

struct ServerFacts {
  std::string name;
  bool has_tools = false;
};
/// Refuses a version of MCP that is not understood, and names it.
Result<ServerFacts> read_initialize_result(const nlohmann::json& result);

/// tools/call, resources/read, prompts/get or the method itself. The id of the first three is the token of
/// its progress, too.
std::string mcp_request(std::int64_t id, const McpCall& call);
std::string mcp_cancellation(std::int64_t id, std::string_view reason);

/// The directory as the one root, `none` when it is empty.
JsonText roots_result(const std::string& directory);

/// Of which request a progress notification tells, and what; nothing where it makes no sense.
struct ToldProgress {
  std::int64_t id = 0;
  Progress progress;  // without its task; 0 percent where no total is known
};
std::optional<ToldProgress> read_progress(const nlohmann::json& params);

/// notifications/message.
Log read_log_message(const nlohmann::json& params);

/// Whether a tool's result says that the tool failed, and its texts.
bool is_tool_error(const nlohmann::json& result);
std::string tool_error_text(const nlohmann::json& result);

}  // namespace kurultai
