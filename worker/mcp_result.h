// From a task to the call that it is, and from the server's answer to the task's. Files are read and written
// here.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "protocol/mcp_call.h"
#include "protocol/messages.h"
#include "worker/asked.h"
#include "worker/long_answer.h"
#include "worker/tool_list.h"

namespace kurultai {

/// From its payload, or from the file that holds it (at most 16 MiB: it is parsed).
Result<McpCall> call_of(const TaskMessage& task);

/// COMPLETE with the server's `result` as it is, in the task's file when it is large; FAILED for an error of
/// JSON-RPC (`{"error": {…}}` is the result then), a tool's `isError`, and an answer with neither.
FromAgent answer_of(const Asked& call, const nlohmann::json& message, const ToolList& tools);
FromAgent answer_of(const Asked& call, LongAnswer& answer);
/// COMPLETE with a result that needed no asking.
FromAgent answer_with(const TaskMessage& task, JsonText result);
FromAgent broken_answer(const Asked& call, const std::string& why);

}  // namespace kurultai
