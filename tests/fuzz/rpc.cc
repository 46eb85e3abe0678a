// What servers and clients of MCP say: a line too long to be held is understood as the same line would be if
// it were parsed, however it is cut; answers of servers become messages that can be sent; and requests of
// clients are answered with the id that they have.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "protocol/codec.h"
#include "protocol/json_rpc.h"
#include "protocol/json_scanner.h"
#include "protocol/json_text.h"
#include "protocol/mcp_call.h"
#include "tests/fuzz/check.h"
#include "tools/kurultai/mcp/message.h"
#include "tools/kurultai/mcp/proxy_answer.h"
#include "worker/long_answer.h"
#include "worker/mcp_result.h"
#include "worker/mcp_words.h"
#include "worker/server_output.h"
#include "worker/tool_list.h"

using namespace kurultai;
using nlohmann::json;

namespace {

// ---- lines that are not held

struct Heard {
  std::optional<std::int64_t> id;
  bool has_method, has_result, is_error;
  std::string error, trouble;
  bool operator==(const Heard&) const = default;
};

Heard in_steps(std::string_view line, std::size_t step) {
  LongAnswer answer({}, {});
  for (std::size_t at = 0; at < line.size(); at += step) answer.feed(line.substr(at, step));
  HOLDS(answer.bytes().count == std::ssize(line) && !answer.file());
  return {answer.id(),       answer.has_method(),         answer.has_result(),
          answer.is_error(), std::string(answer.error()), answer.trouble()};
}

/// What the scanner does not look at.
bool is_beyond_the_scanner(std::string_view line) {
  return line.contains("\\u") || line.starts_with("\xef\xbb\xbf");  // half a character, or a key in disguise
}

bool is_too_large_a_number(const Error& error) { return error.message.contains("number overflow"); }

void is_understood_like_a_short_one(std::string_view line) {
  const Heard whole = in_steps(line, line.size() + 1);
  for (const std::size_t step : {1, 2, 3, 7}) HOLDS(in_steps(line, step) == whole);
  const auto value = parse_json(line, DuplicateKeys::last_wins);
  if (is_beyond_the_scanner(line)) return;
  if (!value) {
    HOLDS(!whole.trouble.empty() || is_too_large_a_number(value.error()));
    return;
  }
  if (!value->is_object()) return;
  HOLDS(whole.trouble.empty() || whole.trouble == "the answer has two results");
  const auto id = value->contains("id") ? rpc_own_id(value->at("id")) : std::nullopt;
  HOLDS(id ? whole.id == id : whole.id.value_or(0) <= 0);
  HOLDS(whole.has_method == value->contains("method"));
  HOLDS(whole.has_result == value->contains("result"));
  const json error = value->value("error", json());
  HOLDS(whole.error.empty() == error.is_null());
  if (whole.trouble.empty() && whole.has_result) HOLDS(whole.is_error == is_tool_error(value->at("result")));
}

// ---- what a server says

void can_be_sent(const FromAgent& message) {
  std::string line = encode(message);
  HOLDS(line.ends_with('\n') && line.find('\n') == line.size() - 1);
  line.pop_back();
  const FromAgentLine again = decode_from_agent(line);
  HOLDS(std::holds_alternative<FromAgent>(again));
  HOLDS(encode(std::get<FromAgent>(again)) == line + "\n");
}

void answers(const json& message) {
  Asked asked;
  asked.task.task_id = "t";
  asked.task.inline_limit = mebibytes(1);
  ToolList tools;
  tools.begin();
  if (const auto page = message.find("result"); page != message.end()) {
    const std::string cursor = tools.add(*page);
    HOLDS(cursor.size() <= 4096 && tools.tools().tools.size() <= Tools::most);
    can_be_sent(tools.tools());
    const auto facts = read_initialize_result(*page);
    if (facts) HOLDS(facts->name.size() <= 128);
  }
  for (const auto kind : {McpCall::Kind::tool, McpCall::Kind::resource}) {
    asked.call = {kind, "tool", {}};
    can_be_sent(answer_of(asked, message, tools));
  }
}

void notifications(const json& params) {
  if (auto told = read_progress(params)) {
    told->progress.task_id = "t";
    HOLDS(told->progress.percent >= 0 && told->progress.percent <= 100);
    can_be_sent(told->progress);
  }
  can_be_sent(read_log_message(params));
}

// ---- what a client says

json parsed(std::string line) {
  HOLDS(line.ends_with('\n') && line.find('\n') == line.size() - 1);
  line.pop_back();
  const auto value = parse_json(line);
  HOLDS(value.has_value());
  return *value;
}

void calls(const JsonText& payload) {
  const auto call = read_mcp_call(payload);
  if (!call) return HOLDS(!call.error().message.empty());
  const json request = parsed(mcp_request(5, *call));
  HOLDS(request.at("id") == 5 && request.at("method").is_string());
  if (!call->arguments.empty() && call->kind != McpCall::Kind::method)
    HOLDS(request.at("params").at("arguments") == *parse_json(call->arguments));
}

void requests(const json& message) {
  const ClientMessage read = read_client_message(message);
  if (const auto* bad = std::get_if<BadMessage>(&read))
    HOLDS(parsed(rpc_refusal(bad->id, bad->code, bad->why)).at("error").at("code") == bad->code);
  const auto* request = std::get_if<ClientRequest>(&read);
  if (request == nullptr) return;
  HOLDS(parsed(rpc_answer(request->id, "{}")).at("id") == message.at("id"));
  const JsonText token = progress_token(request->params);
  HOLDS(token.size() <= 1024 && (token.empty() || parse_json(token).has_value()));
  if (const auto payload = proxy_payload(request->method, request->params)) {
    HOLDS(read_mcp_call(*payload).has_value());
    calls(*payload);
  }
}

void tasks(const json& task) {
  const ProxyAnswer answer = read_proxy_answer(task);
  if (const auto* result = std::get_if<ServerResult>(&answer)) HOLDS(parse_json(result->text).has_value());
  if (const auto* error = std::get_if<ServerError>(&answer)) HOLDS(parse_json(error->text)->is_object());
  if (const auto* none = std::get_if<NoAnswer>(&answer)) HOLDS(!none->message.empty());
}

// ---- streams

std::vector<std::string> lines_of(std::string_view bytes, std::size_t step) {
  std::vector<std::string> lines;
  ServerOutput output({.line = [&](std::string_view line) { lines.emplace_back(line); },
                       .begin_long = [] { return LongAnswer({}, {}); },
                       .end_of_long = [](LongAnswer&) { HOLDS(false); }});
  for (std::size_t at = 0; at < bytes.size(); at += step) output.feed(bytes.substr(at, step));
  output.finish();
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto lines = lines_of(bytes, size + 1);
  for (const std::size_t step : {1, 2, 5}) HOLDS(lines_of(bytes, step) == lines);
  for (const std::string& line : lines) {
    is_understood_like_a_short_one(line);
    const auto message = parse_json(line, DuplicateKeys::last_wins);
    if (!message) continue;
    requests(*message);
    calls(line);
    tasks(*message);
    notifications(*message);
    if (message->is_object()) answers(*message);
    HOLDS(!read_rpc_error(*message).message.empty());
  }
  return 0;
}
