// Tables of the supervisor's state: queue, agents, workers, memory, breakers, status.
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/kurultai/commands.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/table.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;

/// Gets `path` and prints it: the object itself, or what `as_text` makes of it.
Answer<ExitStatus> show(Http& http, const std::string& path, bool as_json,
                        std::string (*as_text)(const json&)) {
  const auto body = get(http, path);
  if (!body) return std::unexpected(body.error());
  const auto object = parse_answer(*body);
  if (!object) return std::unexpected(object.error());
  std::fputs(as_json ? (*body + "\n").c_str() : as_text(*object).c_str(), stdout);
  return ExitStatus::done;
}

std::string count(const json& object, const char* name) {
  const auto value = int_field(object, name);
  return value ? std::to_string(*value) : "";
}

std::string size(const json& object, const char* name) {
  const auto value = bytes_field(object, name);
  return value ? brief(*value) : "";
}

std::string since(const json& object, const char* name) {
  return age(text_field(object, name), std::chrono::system_clock::now());
}

std::string joined(const json& list, const char* separator = " ") {
  std::string out;
  for (const auto& item : list) {
    if (item.is_string()) out += (out.empty() ? "" : separator) + item.get<std::string>();
  }
  return out;
}

bool is_true(const json& object, const char* name) {
  const json& value = field(object, name);
  return value.is_boolean() && value.get<bool>();
}

std::string flags_off(const json& flags) {
  std::string out;
  if (!flags.is_object()) return out;
  for (const auto& [name, value] : flags.items()) {
    if (value == false) out += (out.empty() ? "" : ", ") + name;
  }
  return out;
}

std::string queue_text(const json& queue) {
  std::string out = count(queue, "depth") + " of " + count(queue, "maxDepth") + " waiting";
  if (int_field(queue, "returned").value_or(0) > 0) out += ", " + count(queue, "returned") + " sent back";
  out += "\n\n";
  Table levels({{"PRIORITY"}, {"WAITING", Align::right}, {"LIMIT", Align::right}});
  for (const auto& level : field(queue, "levels")) {
    levels.add({text_field(level, "priority"), count(level, "waiting"), count(level, "limit")});
  }
  out += levels.text();
  Table tasks({{"POSITION", Align::right}, {"TASK"}, {"AGENT"}, {"PRIORITY"}});
  for (const auto& task : field(queue, "tasks")) {
    tasks.add({count(task, "position"), text_field(task, "taskId"), text_field(task, "agent"),
               text_field(task, "priority")});
  }
  return tasks.empty() ? out : out + "\n" + tasks.text();
}

std::string agents_text(const json& answer) {
  Table table({{"AGENT"},
               {"PROTOCOL"},
               {"WORKERS", Align::right},
               {"RUNNING", Align::right},
               {"QUEUED", Align::right},
               {"COMPLETED", Align::right},
               {"FAILED", Align::right},
               {"RESTARTS", Align::right},
               {"FOOTPRINT", Align::right},
               {"LIMIT", Align::right}});
  for (const auto& agent : field(answer, "agents")) {
    table.add({text_field(agent, "name"), text_field(agent, "protocol"), count(agent, "workers"),
               count(agent, "running"), count(agent, "queued"), count(agent, "completed"),
               count(agent, "failed"), count(agent, "restarts"), size(agent, "footprintBytes"),
               size(agent, "memoryLimitBytes")});
  }
  return table.empty() ? "no agents are configured\n" : table.text();
}

std::string workers_text(const json& answer) {
  Table table({{"WORKER"},
               {"AGENT"},
               {"PID", Align::right},
               {"STATE"},
               {"MEMORY", Align::right},
               {"LIMIT", Align::right},
               {"PEAK", Align::right},
               {"AGE", Align::right},
               {"DONE", Align::right},
               {"TASKS"}});
  for (const auto& worker : field(answer, "workers")) {
    table.add({text_field(worker, "workerId"), text_field(worker, "agent"), count(worker, "pid"),
               text_field(worker, "state"), size(worker, "memoryBytes"), size(worker, "memoryLimitBytes"),
               size(worker, "peakMemoryBytes"), since(worker, "startedAt"), count(worker, "tasksDone"),
               joined(field(worker, "tasks"))});
  }
  return table.empty() ? "no workers\n" : table.text();
}

std::string used_of_budget(const json& memory) {
  std::string out = size(memory, "usedBytes") + " of " + size(memory, "budgetBytes");
  if (const auto ratio = number_field(memory, "ratio")) out += " (" + percent(*ratio) + ")";
  return out;
}

std::string thresholds_text(const json& thresholds) {
  std::multimap<double, std::string> by_height;
  if (!thresholds.is_object()) return "";
  for (const auto& [name, value] : thresholds.items()) {
    if (value.is_number()) by_height.emplace(value.get<double>(), name);
  }
  std::string out;
  for (const auto& [height, name] : by_height)
    out += (out.empty() ? "" : ", ") + name + " at " + percent(height);
  return out;
}

std::string memory_text(const json& memory) {
  const json& supervisor = field(memory, "supervisor");
  std::string out =
      facts({{"used", used_of_budget(memory)},
             {"workers' limit", size(memory, "limitBytes")},
             {"guarantee", text_field(memory, "guarantee")},
             {"thresholds", thresholds_text(field(memory, "thresholds"))},
             {"over", joined(field(memory, "over"), ", ")},
             {"swap", int_field(memory, "swapBytes").value_or(0) > 0 ? size(memory, "swapBytes") : ""},
             {"supervisor", size(supervisor, "rssBytes")}});
  Table table({{"WORKER"},
               {"AGENT"},
               {"MEMORY", Align::right},
               {"WITH CACHE", Align::right},
               {"SWAP", Align::right},
               {"HEAP USED", Align::right},
               {"HEAP", Align::right}});
  for (const auto& worker : field(memory, "workers")) {
    const json& heap = field(worker, "heap");
    table.add({text_field(worker, "workerId"), text_field(worker, "agent"), size(worker, "memoryBytes"),
               size(worker, "rawBytes"), size(worker, "swapBytes"), size(heap, "heapUsed"),
               size(heap, "heapTotal")});
  }
  return table.empty() ? out : out + "\n" + table.text();
}

std::string breakers_text(const json& answer) {
  Table table({{"BREAKER"}, {"OF"}, {"STATE"}, {"FAILURES", Align::right}, {"NEXT TRY IN", Align::right}});
  for (const auto& breaker : field(answer, "breakers")) {
    const auto wait = int_field(breaker, "retryAfter");
    table.add({text_field(breaker, "name"), text_field(breaker, "kind"), text_field(breaker, "state"),
               count(breaker, "failures"), wait ? std::to_string(*wait) + "s" : ""});
  }
  return table.empty() ? "no breakers\n" : table.text();
}

// Only the socket is told where the gateway is.
std::string listens_on(const json& health) {
  if (!field(health, "listen").is_string()) return "";
  const std::string address = text_field(health, "listen");
  return address.empty() ? "the socket alone" : "http://" + address;
}

std::string token_text(const json& health) {
  if (text_field(health, "listen").empty()) return "";
  const std::string file = text_field(health, "tokenFile");
  return file.empty() ? "none is asked for" : "in " + file;
}

std::string status_text(const json& health) {
  const std::string explanation = text_field(health, "explanation");
  const auto up = number_field(health, "uptimeSeconds");
  return facts(
      {{"status", text_field(health, "status")},
       {"troubles", joined(field(health, "troubles"), "; ")},
       {"draining", is_true(health, "draining") ? "yes, no new tasks are taken" : ""},
       {"version", text_field(health, "version")},
       {"pid", count(health, "pid")},
       {"up", up ? brief(Duration(static_cast<std::int64_t>(*up * 1000))) : ""},
       {"guarantee", text_field(health, "guarantee") + (explanation.empty() ? "" : ": " + explanation)},
       {"memory", used_of_budget(field(health, "memory"))},
       {"listens on", listens_on(health)},
       {"token", token_text(health)},
       {"switched off", flags_off(field(health, "flags"))}});
}

}  // namespace

Answer<ExitStatus> show_queue(Http& http, bool as_json) {
  return show(http, "/v1/queue", as_json, queue_text);
}

Answer<ExitStatus> show_workers(Http& http, bool as_json) {
  return show(http, "/v1/workers", as_json, workers_text);
}

Answer<ExitStatus> show_memory(Http& http, bool as_json) {
  return show(http, "/v1/memory", as_json, memory_text);
}

Answer<ExitStatus> show_breakers(Http& http, bool as_json) {
  return show(http, "/v1/breakers", as_json, breakers_text);
}

Answer<ExitStatus> show_agents(Http& http, const std::string& name, bool as_json) {
  if (name.empty()) return show(http, "/v1/agents", as_json, agents_text);
  const auto answer = get_json(http, "/v1/agents");
  if (!answer) return std::unexpected(answer.error());
  for (const auto& agent : field(*answer, "agents")) {
    if (text_field(agent, "name") != name) continue;
    std::fputs(as_json ? (agent.dump() + "\n").c_str() : agents_text({{"agents", {agent}}}).c_str(), stdout);
    return ExitStatus::done;
  }
  return complaint(ExitStatus::no_such_thing, "no such agent; `kurultai agents` lists them");
}

Answer<ExitStatus> show_status(Http& http, bool as_json) {
  Request request;
  request.path = "/health";
  auto response = http.request(std::move(request));
  if (!response) return std::unexpected(response.error());
  const auto object = parse_answer(response->body);
  // A supervisor that is not able answers 503 with the same object: that is the state that was asked for.
  if (!object || text_field(*object, "status").empty())
    return std::unexpected(refusal(response->status, response->body));
  std::fputs(as_json ? (without_newline(response->body) + "\n").c_str() : status_text(*object).c_str(),
             stdout);
  return response->status == 200 ? ExitStatus::done : ExitStatus::refused;
}

}  // namespace kurultai
