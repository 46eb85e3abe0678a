#include "tools/kurultai/mcp/supervisor_offer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_rpc.h"
#include "protocol/json_text.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/mcp/answers.h"
#include "tools/kurultai/mcp/asking.h"
#include "tools/kurultai/mcp/resources.h"
#include "tools/kurultai/mcp/server_facts.h"
#include "tools/kurultai/mcp/tool_definitions.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr std::int64_t default_wait = 50;  // seconds; most clients give a request a minute
constexpr std::int64_t default_part = 16384;
constexpr std::int64_t rpc_no_such_resource = -32002;  // of MCP

Duration seconds_of(const json& arguments, std::int64_t without) {
  return std::chrono::seconds(int_field(arguments, "waitSeconds").value_or(without));
}

/// An empty result has no first byte either.
bool is_behind_the_end(const Answer<Response>& answer) { return answer && answer->status == 416; }

/// The result of a tool, from what the supervisor answered.
JsonText shaped(const Answer<Response>& answer, json (*shape)(const json&)) {
  if (!is_good(answer)) return tool_refusal(refusal_object(answer));
  const auto object = parse_json(answer->body);
  if (!object) return tool_refusal(refusal_object("no_supervisor", "what answers there is no supervisor"));
  return tool_result(shape(*object));
}

Then answering(const Call& call, json (*shape)(const json&)) {
  return [call, shape](const Answer<Response>& answer) { call.result(shaped(answer, shape)); };
}

std::string task_of(const json& arguments) { return task_path(text_field(arguments, "taskId")); }

std::string list_path(const json& arguments) {
  std::string path =
      "/v1/tasks?order=newest&limit=" + std::to_string(int_field(arguments, "limit").value_or(20));
  for (const char* name : {"state", "agent", "after"}) {
    if (const auto value = text_field(arguments, name); !value.empty())
      path.append("&").append(name).append("=").append(url_escaped(value));
  }
  return path;
}

}  // namespace

void SupervisorOffer::take(const std::string& method, const json& params, const Call& call) {
  if (method == "initialize") return call.result(supervisor_facts(params));
  const bool is_list =
      method == "tools/list" || method == "resources/list" || method == "resources/templates/list";
  if (is_list && params.is_object() && params.contains("cursor"))
    return call.error(rpc_invalid_params, "there is one page only");
  if (method == "tools/list") return call.result(to_text(tool_definitions()));
  if (method == "resources/list") return call.result(resource_list());
  if (method == "resources/templates/list") return call.result(resource_templates());
  if (method == "resources/read") return read_resource(params, call);
  if (method == "tools/call") return call_tool(params, call);
  call.error(rpc_method_not_found, "there is no method " + method);
}

void SupervisorOffer::call_tool(const json& params, const Call& call) {
  const std::string name = text_field(params, "name");
  const json* tool = find_tool(name);
  if (tool == nullptr) return call.error(rpc_invalid_params, "there is no tool '" + name + "'");
  const json& given = field(params, "arguments");
  if (!given.is_object() && !given.is_null())
    return call.error(rpc_invalid_params, "'arguments' must be an object");
  const json arguments = given.is_null() ? json::object() : given;
  // In the result, where the model sees it and can do better.
  if (const auto wrong = check_arguments(field(*tool, "inputSchema"), arguments))
    return call.result(tool_refusal(refusal_object("invalid_arguments", *wrong)));
  run_tool(name, arguments, call);
}

void SupervisorOffer::run_tool(const std::string& tool, const json& arguments, const Call& call) {
  if (tool == "submit_task") return submit(arguments, call);
  if (tool == "read_result") return read_result(arguments, call);
  if (tool == "task_logs") return read_log(arguments, call);
  if (tool == "wait_for_task") {
    wait_for_task(http_, call, text_field(arguments, "taskId"), {seconds_of(arguments, default_wait)},
                  answering(call, task_answer));
    return;
  }
  if (tool == "get_task") return answer_with(get_request(task_of(arguments)), task_answer, call);
  if (tool == "list_tasks") return answer_with(get_request(list_path(arguments)), task_list_answer, call);
  if (tool == "list_agents") return answer_with(get_request("/v1/agents"), agents_answer, call);
  if (tool == "memory_headroom") return answer_with(get_request("/v1/memory"), headroom_answer, call);
  Request cancellation = get_request(task_of(arguments));
  cancellation.method = "DELETE";
  answer_with(std::move(cancellation), task_answer, call);
}

void SupervisorOffer::answer_with(Request request, Shape shape, const Call& call) {
  ask(http_, call, std::move(request), answering(call, shape));
}

void SupervisorOffer::submit(const json& arguments, const Call& call) {
  json body = arguments;
  body.erase("waitSeconds");
  const Duration wait = seconds_of(arguments, 0);
  const auto done = [this, call, wait](const Answer<Response>& answer) {
    const auto accepted = parse_json(is_good(answer) && wait.count() > 0 ? answer->body : "");
    if (!accepted) return call.result(shaped(answer, task_answer));
    wait_for_task(http_, call, text_field(*accepted, "taskId"), {wait}, answering(call, task_answer));
  };
  ask(http_, call, post_request("/v1/tasks", to_text(body)), done);
}

void SupervisorOffer::read_result(const json& arguments, const Call& call) {
  const std::string id = text_field(arguments, "taskId");
  const std::int64_t offset = int_field(arguments, "offset").value_or(0);
  const auto count = static_cast<std::size_t>(int_field(arguments, "bytes").value_or(default_part));
  Request request = get_request(task_path(id) + "/result");
  request.range =
      std::to_string(offset) + "-" + std::to_string(offset + static_cast<std::int64_t>(count) - 1);
  ask(http_, call, std::move(request), [call, id, offset, count](const Answer<Response>& answer) {
    if (!is_good(answer) && !is_behind_the_end(answer))
      return call.result(tool_refusal(refusal_object(answer)));
    call.result(tool_result(result_part(id, offset, is_good(answer) ? answer->body : "", count)));
  });
}

void SupervisorOffer::read_log(const json& arguments, const Call& call) {
  const std::string id = text_field(arguments, "taskId");
  const auto limit = static_cast<std::size_t>(int_field(arguments, "bytes").value_or(default_part));
  ask(http_, call, get_request(task_path(id) + "/logs"), [call, id, limit](const Answer<Response>& answer) {
    if (!is_good(answer)) return call.result(tool_refusal(refusal_object(answer)));
    call.result(tool_result(log_answer(id, answer->body, limit)));
  });
}

void SupervisorOffer::read_resource(const json& params, const Call& call) {
  const std::string uri = text_field(params, "uri");
  const auto place = find_resource(uri);
  if (!place) return call.error(rpc_no_such_resource, "there is no resource '" + uri + "'");
  Request request = get_request(place->path);
  // One byte more tells that it is longer.
  if (place->type.empty()) request.range = "0-" + std::to_string(longest_resource);
  ask(http_, call, std::move(request), [call, uri, place = *place](const Answer<Response>& answer) {
    if (is_behind_the_end(answer)) return call.result(resource_result(uri, place, ""));
    if (!is_good(answer)) {
      const json refusal = refusal_object(answer);
      const bool is_missing = answer && answer->status == 404;
      return call.error(to_text(json{{"code", is_missing ? rpc_no_such_resource : rpc_internal_error},
                                     {"message", refusal["message"]},
                                     {"data", refusal}}));
    }
    if (answer->body.size() > longest_resource)
      return call.error(rpc_internal_error, uri + " is longer than 1MiB; read_result has its parts");
    const auto list = parse_json(place.is_task_list ? answer->body : "");
    call.result(resource_result(uri, place, list ? to_text(task_list_answer(*list)) : answer->body));
  });
}

}  // namespace kurultai
