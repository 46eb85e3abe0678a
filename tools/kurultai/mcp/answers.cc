#include "tools/kurultai/mcp/answers.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "protocol/base64.h"
#include "protocol/json_text.h"
#include "protocol/utf8.h"
#include "protocol/words.h"
#include "tools/kurultai/fields.h"

namespace kurultai {
namespace {

using nlohmann::json;

/// Those of `names` that have a value.
json pick(const json& object, std::initializer_list<const char*> names) {
  json out = json::object();
  for (const char* name : names) {
    const json& value = field(object, name);
    if (!value.is_null()) out[name] = value;
  }
  return out;
}

/// A task without its result.
json facts_of_task(const json& task) {
  json out = pick(task, {"taskId", "agent", "priority", "state", "position", "attempt", "preemptions",
                         "submittedAt", "startedAt", "finishedAt", "waitMs", "runMs", "progress", "message",
                         "peakMemoryBytes", "logBytes", "resultBytes"});
  const auto state = parse_task_state(text_field(task, "state"));
  out["finished"] = state && is_final(*state);
  const json& error = field(task, "error");
  if (error.is_object())
    out["error"] = pick(error, {"reason", "message", "exitCode", "signal", "quarantined"});
  return out;
}

/// How long the result is as `/result` gives it: a text as itself, other values as JSON.
std::size_t size_of(const json& result) {
  return result.is_string() ? result.get_ref<const std::string&>().size() : to_text(result).size();
}

std::size_t begin_of_character(std::string_view text, std::size_t at) {
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) ++at;
  return at;
}

std::int64_t until(const json& memory, const char* threshold) {
  const auto budget = static_cast<double>(int_field(memory, "budgetBytes").value_or(0));
  const auto used = static_cast<double>(int_field(memory, "usedBytes").value_or(0));
  const auto ratio = number_field(field(memory, "thresholds"), threshold).value_or(0);
  return static_cast<std::int64_t>(std::max(0.0, ratio * budget - used));
}

JsonText content_of(const std::string& text) {
  return to_text(json::array({{{"type", "text"}, {"text", text}}}));
}

}  // namespace

json task_answer(const json& task) {
  json out = facts_of_task(task);
  const json& result = field(task, "result");
  if (result.is_null()) return out;
  const std::size_t size = size_of(result);
  if (size <= longest_inline_result)
    out["result"] = result;
  else
    out["resultBytes"] = size;
  return out;
}

json task_list_answer(const json& list) {
  json tasks = json::array();
  for (const json& task : field(list, "tasks")) tasks.push_back(facts_of_task(task));
  json out = pick(list, {"next"});
  out["tasks"] = std::move(tasks);
  return out;
}

json agents_answer(const json& agents) {
  json list = json::array();
  for (const json& agent : field(agents, "agents"))
    list.push_back(pick(agent, {"name", "protocol", "running", "queued", "completed", "failed",
                                "memoryLimitBytes", "footprintBytes", "tools"}));
  return json{{"agents", std::move(list)}};
}

json headroom_answer(const json& memory) {
  json out = pick(memory, {"time", "budgetBytes", "usedBytes", "ratio", "over"});
  const auto free = int_field(memory, "budgetBytes").value_or(0) - int_field(memory, "usedBytes").value_or(0);
  out["freeBytes"] = std::max<std::int64_t>(0, free);
  out["untilPreemptBytes"] = until(memory, "preempt");
  out["untilRejectBytes"] = until(memory, "reject");
  return out;
}

json result_part(const std::string& task_id, std::int64_t offset, std::string_view bytes, std::size_t asked) {
  const bool is_full = bytes.size() == asked;
  json out = {{"taskId", task_id}, {"offset", offset}};
  // A text that was cut within a character ends before it: the next part begins with it.
  const std::string_view whole =
      is_full ? utf8_prefix(bytes, bytes.size() - std::min<std::size_t>(bytes.size(), 1)) : bytes;
  std::string_view part = bytes;
  if (is_utf8(bytes)) {
    out["text"] = bytes;
  } else if (!whole.empty() && bytes.size() - whole.size() < 4 && is_utf8(whole)) {
    part = whole;
    out["text"] = part;
  } else {
    out["base64"] = encode_base64(bytes);
  }
  out["bytes"] = part.size();
  if (is_full) out["nextOffset"] = offset + static_cast<std::int64_t>(part.size());
  return out;
}

json log_answer(const std::string& task_id, std::string_view log, std::size_t limit) {
  const std::size_t begin = log.size() <= limit ? 0 : begin_of_character(log, log.size() - limit);
  return {{"taskId", task_id}, {"text", to_utf8(log.substr(begin))}, {"leftOutBytes", begin}};
}

JsonText tool_result(const json& object) {
  const std::string text = to_text(object);
  if (text.size() > longest_answer) {
    return tool_refusal(refusal_object(
        "too_long", "the answer has " + std::to_string(text.size()) + " bytes; ask for less of it"));
  }
  return R"({"content":)" + content_of(text) + R"(,"structuredContent":)" + text + "}";
}

json refusal_object(const Answer<Response>& answer) {
  if (!answer) return refusal_object("no_supervisor", answer.error().text);
  const auto body = parse_json(answer->body);
  const json& error = body ? field(*body, "error") : nothing();
  if (text_field(error, "code").empty())
    return refusal_object("no_supervisor", refusal(answer->status, answer->body).text);
  return pick(error, {"code", "message", "retryAfter", "details"});
}

json refusal_object(std::string_view code, std::string_view message) {
  return {{"code", code}, {"message", message}};
}

JsonText tool_refusal(const json& refusal) {
  return R"({"content":)" + content_of(to_text(json{{"error", refusal}})) + R"(,"isError":true})";
}

}  // namespace kurultai
