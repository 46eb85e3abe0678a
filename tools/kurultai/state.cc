// Tables of the supervisor's state: queue, workers, memory, breakers, schedules, status.
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/kurultai/cells.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/endpoint.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/table.h"
#include "tools/kurultai/tables.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;

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

std::string workers_text(const json& answer) {
  const std::string table = worker_table(field(answer, "workers"));
  return table.empty() ? "no workers\n" : table;
}

std::string used_of_budget(const json& memory) {
  std::string out = size(memory, "usedBytes") + " of " + size(memory, "budgetBytes");
  if (const auto ratio = number_field(memory, "ratio")) out += " (" + percent(*ratio) + ")";
  return out;
}

std::string machine_text(const json& memory) {
  const json& machine = field(memory, "machine");
  if (!machine.is_object()) return "";
  std::string out = size(machine, "availableBytes") + " of " + size(machine, "totalBytes") + " available, " +
                    size(machine, "reserveBytes") + " left to others";
  if (const std::string group = text_field(machine, "group"); !group.empty()) out += ", in " + group;
  if (field(machine, "limits") != true) return out;
  return out + "; so the budget is not the configured " + size(memory, "configuredBytes");
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
             {"machine", machine_text(memory)},
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

std::string schedules_text(const json& answer) {
  Table table({{"SCHEDULE"},
               {"AGENT"},
               {"WHEN"},
               {"NEXT"},
               {"LATEST TASK"},
               {"STARTED", Align::right},
               {"MISSED", Align::right},
               {"REFUSED", Align::right}});
  for (const auto& schedule : field(answer, "schedules")) {
    const std::string every = text_field(schedule, "every");
    const std::string latest = text_field(schedule, "taskId");
    table.add({text_field(schedule, "name"), text_field(schedule, "agent"),
               every.empty() ? text_field(schedule, "cron") : "every " + every,
               text_field(schedule, "nextAt"), latest + (field(schedule, "running") == true ? " (runs)" : ""),
               count(schedule, "started"), count(schedule, "missed"), count(schedule, "refused")});
  }
  return table.empty() ? "no schedules\n" : table.text();
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

/// An address of this machine for one that stands for all of them.
std::string reachable(const std::string& listen) {
  if (listen.starts_with("0.0.0.0:")) return "127.0.0.1" + listen.substr(7);
  if (listen.starts_with("[::]:")) return "[::1]" + listen.substr(4);
  return listen;
}

/// With the token, for those who may read it anyway; a browser keeps what stands behind # to itself.
std::string dashboard_address(const json& health) {
  const std::string listen = text_field(health, "listen");
  const std::string file = text_field(health, "tokenFile");
  if (listen.empty()) return "";
  std::string page = "http://" + reachable(listen) + "/";
  if (file.empty()) return page;
  const auto token = read_token(file);
  return token ? page + "#token=" + url_escaped(*token) : page + ", which asks for the token";
}

/// `tasks cannot be written down: … (since 2026-11-21T05:24:02.688Z)`.
std::string troubles_text(const json& parts) {
  std::string text;
  for (const json& part : parts) {
    const std::string trouble = text_field(part, "trouble");
    if (trouble.empty()) continue;
    text += (text.empty() ? "" : "; ") + trouble + " (since " + text_field(part, "since") + ")";
  }
  return text;
}

std::string status_text(const json& health) {
  const std::string explanation = text_field(health, "explanation");
  const auto up = number_field(health, "uptimeSeconds");
  return facts(
      {{"status", text_field(health, "status")},
       {"troubles", troubles_text(field(health, "parts"))},
       {"draining", is_true(health, "draining") ? "yes, no new tasks are taken" : ""},
       {"version", text_field(health, "version")},
       {"pid", count(health, "pid")},
       {"up", up ? brief(Duration(static_cast<std::int64_t>(*up * 1000))) : ""},
       {"guarantee", text_field(health, "guarantee") + (explanation.empty() ? "" : ": " + explanation)},
       {"memory", used_of_budget(field(health, "memory"))},
       {"listens on", listens_on(health)},
       {"token", token_text(health)},
       {"dashboard", dashboard_address(health)},
       {"switched off", flags_off(field(health, "flags"))}});
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

void add_table(Commands& commands, const std::string& name, const std::string& description,
               const std::string& example, const std::string& path, std::string (*as_text)(const json&)) {
  auto& as_json = commands.keep<bool>();
  Command command = commands.add(name, description, example);
  command.json_flag(as_json);
  command.asks(name, [&as_json, path, as_text](Http& http) { return show(http, path, as_json, as_text); });
}

void add_status(Commands& commands) {
  auto& as_json = commands.keep<bool>();
  Command command =
      commands.add("status", "whether the supervisor is well, and what it can guarantee", "kurultai status");
  command.json_flag(as_json);
  command.asks("status", [&as_json](Http& http) { return show_status(http, as_json); });
}

}  // namespace

void add_state(Commands& commands) {
  add_table(commands, "queue", "what waits, level by level", "kurultai queue --json | jq .depth", "/v1/queue",
            queue_text);
  add_table(commands, "workers", "worker processes and their memory", "kurultai workers", "/v1/workers",
            workers_text);
  add_table(commands, "memory", "the budget and who uses it", "kurultai memory --json | jq .ratio",
            "/v1/memory", memory_text);
  add_table(commands, "breakers", "what keeps failing and is left alone: agents, and what agents call",
            "kurultai breakers", "/v1/breakers", breakers_text);
  add_table(commands, "schedules", "tasks that come again and again, and when", "kurultai schedules",
            "/v1/schedules", schedules_text);
  add_status(commands);
}

}  // namespace kurultai
