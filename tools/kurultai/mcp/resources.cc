#include "tools/kurultai/mcp/resources.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "protocol/base64.h"
#include "protocol/json_text.h"
#include "protocol/utf8.h"
#include "tools/kurultai/supervisor.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr std::string_view scheme = "kurultai://";
constexpr const char* json_type = "application/json";

struct Fixed {
  const char* name;
  const char* title;
  const char* description;
  const char* path;
};
constexpr Fixed fixed[] = {
    {"memory", "Memory", "the last reading: budget, use, thresholds, workers", "/v1/memory"},
    {"queue", "Queue", "how many tasks wait, and which", "/v1/queue?limit=100"},
    {"tasks", "Tasks", "the newest 50 tasks, without results", "/v1/tasks?order=newest&limit=50"},
    {"agents", "Agents", "the agents that tasks can be submitted to", "/v1/agents"}};

struct OfTask {
  const char* suffix;
  const char* name;
  const char* title;
  const char* description;
  const char* type;
};
constexpr OfTask of_task[] = {
    {"", "task", "Task", "one task with its history", json_type},
    {"/result", "task result", "Result of a task", "the result itself, up to 1 MiB", ""},
    {"/logs", "task log", "Log of a task", "what it wrote to stderr and logged", "text/plain"},
    {"/why", "task receipt", "Receipt of a task", "what decided over this task, on which figures",
     json_type}};

bool is_task_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0; });
}

}  // namespace

JsonText resource_list() {
  json list = json::array();
  for (const Fixed& one : fixed) {
    list.push_back({{"uri", std::string(scheme) + one.name},
                    {"name", one.name},
                    {"title", one.title},
                    {"description", one.description},
                    {"mimeType", json_type}});
  }
  return to_text(json{{"resources", std::move(list)}});
}

JsonText resource_templates() {
  json list = json::array();
  for (const OfTask& one : of_task) {
    json entry = {{"uriTemplate", std::string(scheme) + "tasks/{taskId}" + one.suffix},
                  {"name", one.name},
                  {"title", one.title},
                  {"description", one.description}};
    if (*one.type != '\0') entry["mimeType"] = one.type;
    list.push_back(std::move(entry));
  }
  return to_text(json{{"resourceTemplates", std::move(list)}});
}

std::optional<ResourcePlace> find_resource(std::string_view uri) {
  if (!uri.starts_with(scheme)) return std::nullopt;
  uri.remove_prefix(scheme.size());
  for (const Fixed& one : fixed) {
    if (uri == one.name) return ResourcePlace{one.path, json_type, uri == "tasks"};
  }
  if (!uri.starts_with("tasks/")) return std::nullopt;
  uri.remove_prefix(std::string_view("tasks/").size());
  const std::string_view id = uri.substr(0, uri.find('/'));
  const std::string_view suffix = uri.substr(id.size());
  if (!is_task_id(id)) return std::nullopt;
  for (const OfTask& one : of_task) {
    if (suffix == one.suffix) return ResourcePlace{task_path(std::string(id)) + one.suffix, one.type};
  }
  return std::nullopt;
}

JsonText resource_result(const std::string& uri, const ResourcePlace& place, std::string_view bytes) {
  const bool is_text = is_utf8(bytes);
  json contents = {{"uri", uri}};
  if (is_text)
    contents["text"] = bytes;
  else
    contents["blob"] = encode_base64(bytes);
  contents["mimeType"] =
      !place.type.empty() ? place.type : std::string(is_text ? "text/plain" : "application/octet-stream");
  return to_text(json{{"contents", json::array({std::move(contents)})}});
}

}  // namespace kurultai
