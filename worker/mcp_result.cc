#include "worker/mcp_result.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_rpc.h"
#include "protocol/json_text.h"
#include "protocol/line_writer.h"
#include "worker/mcp_words.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr Bytes largest_payload = mebibytes(16);

Result<std::string> read_payload(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return system_failure("open " + path, errno);
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_failure("read " + path, errno);
    if (count == 0) return text;
    text.append(buffer, static_cast<std::size_t>(count));
    if (std::ssize(text) > largest_payload.count)
      return failure("the payload of a call is larger than " + to_string(largest_payload));
  }
}

Failed failed(const Asked& call, std::string error, FailReason reason, bool retryable) {
  return Failed{
      .task_id = call.task.task_id, .error = std::move(error), .retryable = retryable, .reason = reason};
}

/// The result where it is to be: in the message, or in the task's file.
template <typename Message>
Result<void> put(const TaskMessage& task, JsonText result, Message& message) {
  const Bytes size{static_cast<std::int64_t>(result.size())};
  if (task.result_file.empty() || size <= task.inline_limit) {
    message.result = std::move(result);
    return {};
  }
  if (task.result_limit.count > 0 && size > task.result_limit)
    return failure("result larger than " + to_string(task.result_limit));
  auto file = ReplyFile::make(task.result_file);
  if (!file) return std::unexpected(file.error());
  if (auto written = file->append(result); !written) return written;
  message.file_bytes = size.count;
  return file->keep_as(task.result_file);
}

/// An error of the tool that would come again however often it is called: there is no such tool, or the
/// TypeScript SDK says so, which puts the protocol's errors into results as "MCP error CODE: TEXT" (its
/// McpError).
bool is_in_vain(const std::string& text, const std::string& hint) {
  return !hint.empty() || text.starts_with("MCP error -32601:") || text.starts_with("MCP error -32602:");
}

FromAgent rpc_failure(const Asked& call, const json& said, const ToolList& tools) {
  const RpcError error = read_rpc_error(said);
  const bool in_vain = error.code == rpc_method_not_found || error.code == rpc_invalid_params;
  std::string text = error.message;
  if (call.call.kind == McpCall::Kind::tool) text += tools.hint(call.call.name);
  Failed answer = failed(call, std::move(text), FailReason::agent_error, !in_vain);
  // The error as it stands, for who knows the codes. One that is too large for the message is in its text.
  JsonText whole = LineWriter().raw("error", to_text(said)).object();
  if (std::ssize(whole) <= call.task.inline_limit.count) answer.result = std::move(whole);
  return answer;
}

}  // namespace

Result<McpCall> call_of(const TaskMessage& task) {
  if (!task.payload_file) return read_mcp_call(task.payload);
  const auto text = read_payload(*task.payload_file);
  if (!text) return std::unexpected(text.error());
  return read_mcp_call(*text);
}

FromAgent answer_of(const Asked& call, const json& message, const ToolList& tools) {
  if (const auto error = message.find("error"); error != message.end() && !error->is_null())
    return rpc_failure(call, *error, tools);
  const auto result = message.find("result");
  if (result == message.end()) return broken_answer(call, "it has neither a result nor an error");
  const auto no_result = [&](const Error& why) {
    return failed(call, why.message, FailReason::agent_error, false);
  };
  if (call.call.kind != McpCall::Kind::tool || !is_tool_error(*result)) {
    Complete complete{.task_id = call.task.task_id};
    if (const auto kept = put(call.task, to_text(*result), complete); !kept) return no_result(kept.error());
    return complete;
  }
  const std::string text = tool_error_text(*result);
  const std::string hint = tools.hint(call.call.name);
  Failed answer = failed(call, text + hint, FailReason::agent_error, !is_in_vain(text, hint));
  if (const auto kept = put(call.task, to_text(*result), answer); !kept) return no_result(kept.error());
  return answer;
}

FromAgent answer_with(const TaskMessage& task, JsonText result) {
  Complete complete{.task_id = task.task_id};
  const auto kept = put(task, std::move(result), complete);
  if (kept) return complete;
  return Failed{.task_id = task.task_id,
                .error = kept.error().message,
                .retryable = false,
                .reason = FailReason::agent_error};
}

FromAgent answer_of(const Asked& call, LongAnswer& answer) {
  if (!answer.error().empty())
    return failed(call, std::string(answer.error()), FailReason::agent_error, true);
  if (const std::string trouble = answer.trouble(); !trouble.empty())
    return failed(call, trouble, FailReason::agent_error, false);
  if (!answer.has_result() || !answer.file()) return broken_answer(call, "it has no result");
  const std::int64_t bytes = answer.file()->size().count;
  if (const auto kept = answer.file()->keep_as(call.task.result_file); !kept)
    return failed(call, kept.error().message, FailReason::agent_error, false);
  if (call.call.kind != McpCall::Kind::tool || !answer.is_error())
    return Complete{.task_id = call.task.task_id, .file_bytes = bytes};
  Failed said = failed(call, "the tool failed; what it says is in the result", FailReason::agent_error, true);
  said.file_bytes = bytes;
  return said;
}

FromAgent broken_answer(const Asked& call, const std::string& why) {
  return failed(call, "the server's answer: " + why, FailReason::protocol_error, true);
}

}  // namespace kurultai
