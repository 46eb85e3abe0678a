// JSON-RPC 2.0 as MCP speaks it on stdio: one object a line, newline included. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/messages.h"

namespace kurultai {

inline constexpr std::int64_t rpc_parse_error = -32700;
inline constexpr std::int64_t rpc_invalid_request = -32600;
inline constexpr std::int64_t rpc_method_not_found = -32601;
inline constexpr std::int64_t rpc_invalid_params = -32602;
inline constexpr std::int64_t rpc_internal_error = -32603;

/// `params` and `result` are JSON texts; params may be empty, for none.
std::string rpc_request(std::int64_t id, std::string_view method, const JsonText& params);
std::string rpc_notification(std::string_view method, const JsonText& params = {});
std::string rpc_answer(const JsonText& id, const JsonText& result);
std::string rpc_refusal(const JsonText& id, std::int64_t code, std::string_view message);
/// The same with an `error` object as it is.
std::string rpc_refusal(const JsonText& id, const JsonText& error);

/// The number that one of our requests had; absent where `id` can be none of them.
std::optional<std::int64_t> rpc_own_id(const nlohmann::json& id);

struct RpcError {
  std::int64_t code = 0;
  std::string message;  // never empty, and says the code
};
RpcError read_rpc_error(const nlohmann::json& error);

}  // namespace kurultai
