// From a finished task of an mcp agent back to what its server answered, so that a client cannot tell the
// difference; and, where no answer came, why. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>

#include "protocol/messages.h"

namespace kurultai {

/// The payload of the task that does what `method` with `params` asks; nothing when no task can. What only
/// the conversation with the client needs (`_meta`) stays behind.
std::optional<JsonText> proxy_payload(const std::string& method, const nlohmann::json& params);

struct ServerResult {
  JsonText text;
};
struct ServerError {
  JsonText text;  // an `error` object of JSON-RPC
};
/// The result is too long to stand in the task, and is to be fetched.
struct LongResult {};
/// The server gave none: the task was ended, or its server was.
struct NoAnswer {
  std::string code;  // the reason of the task's failure
  std::string message;
};
using ProxyAnswer = std::variant<ServerResult, ServerError, LongResult, NoAnswer>;

ProxyAnswer read_proxy_answer(const nlohmann::json& task);

/// How a client is told that no answer of the server came: a tool's result with `isError`, which its model
/// reads, or an error of JSON-RPC.
struct ProxyFailure {
  bool is_result = false;
  JsonText text;
};
ProxyFailure proxy_failure(const std::string& method, const nlohmann::json& refusal);

}  // namespace kurultai
