#include "tools/kurultai/mcp/proxy_answer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "protocol/json_rpc.h"
#include "protocol/json_text.h"
#include "protocol/mcp_call.h"
#include "protocol/words.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/mcp/answers.h"

namespace kurultai {
namespace {

using nlohmann::json;

/// `{"FIELD": NAME, "arguments": {…}}`.
json named_call(const char* kind, const json& params, const char* name) {
  json payload = {{kind, field(params, name)}};
  if (const json& arguments = field(params, "arguments"); !arguments.is_null())
    payload["arguments"] = arguments;
  return payload;
}

json method_call(const std::string& method, const json& params) {
  json payload = {{"method", method}};
  if (!params.is_object()) return payload;
  json rest = params;
  rest.erase("_meta");
  if (!rest.empty()) payload["params"] = std::move(rest);
  return payload;
}

json payload_of(const std::string& method, const json& params) {
  if (method == "tools/call") return named_call("tool", params, "name");
  if (method == "prompts/get") return named_call("prompt", params, "name");
  if (method == "resources/read") return {{"resource", field(params, "uri")}};
  return method_call(method, params);
}

}  // namespace

std::optional<JsonText> proxy_payload(const std::string& method, const json& params) {
  JsonText payload = to_text(payload_of(method, params));
  if (!read_mcp_call(payload)) return std::nullopt;
  return payload;
}

ProxyAnswer read_proxy_answer(const json& task) {
  const json& result = field(task, "result");
  const bool is_completed = text_field(task, "state") == to_string(TaskState::completed);
  const bool is_long = !field(task, "resultBytes").is_null();
  const json& error = field(task, "error");
  // A tool's failure has the tool's own words as its result; any other end has none.
  if (is_long && (is_completed || text_field(error, "reason") == to_string(FailReason::agent_error)))
    return LongResult{};
  if (is_completed) return ServerResult{result.is_object() ? to_text(result) : "{}"};
  if (field(result, "isError") == true) return ServerResult{to_text(result)};
  if (field(result, "error").is_object()) return ServerError{to_text(field(result, "error"))};
  NoAnswer none{text_field(error, "reason"), text_field(error, "message")};
  if (none.code.empty()) none.code = text_field(task, "state");
  none.message =
      "task " + text_field(task, "taskId") + ": " + (none.message.empty() ? none.code : none.message);
  return none;
}

ProxyFailure proxy_failure(const std::string& method, const json& refusal) {
  if (method == "tools/call") return {true, tool_refusal(refusal)};
  return {false,
          to_text(json{
              {"code", rpc_internal_error}, {"message", text_field(refusal, "message")}, {"data", refusal}})};
}

}  // namespace kurultai
