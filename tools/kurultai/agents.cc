// `agents`: how the configured agents fare, and all of one.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/kurultai/cells.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/table.h"
#include "tools/kurultai/tables.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;
using Rows = std::vector<std::pair<std::string, std::string>>;

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

/// `120MiB, learned from 12 tasks`.
std::string footprint_text(const json& object) {
  static constexpr std::int64_t fewest_samples = 3;  // below, the supervisor guesses
  const auto samples = int_field(object, "footprintSamples").value_or(0);
  const std::string tasks = std::to_string(samples) + (samples == 1 ? " task" : " tasks");
  return size(object, "footprintBytes") + (samples < fewest_samples
                                               ? ", guessed: only " + tasks + " to learn from"
                                               : ", learned from " + tasks);
}

/// `3: 2 exit_code, 1 timeout`.
std::string failures_text(const json& agent) {
  std::string reasons;
  const json& failures = field(field(agent, "outcomes"), "failed");
  if (failures.is_object()) {
    for (const auto& [reason, value] : failures.items())
      reasons += (reasons.empty() ? ": " : ", ") + value.dump() + " " + reason;
  }
  return count(agent, "failed") + reasons;
}

std::string breaker_text(const json& breaker) {
  std::string out = text_field(breaker, "state");
  if (int_field(breaker, "failures").value_or(0) > 0) out += ", " + count(breaker, "failures") + " failures";
  if (const auto wait = int_field(breaker, "retryAfter"))
    out += ", next try in " + std::to_string(*wait) + "s";
  return out;
}

/// A row each, the first with the title.
Rows titled(const std::string& title, const std::vector<std::string>& lines) {
  Rows rows;
  rows.reserve(lines.size());
  for (const std::string& line : lines) rows.emplace_back(rows.empty() ? title : "", line);
  return rows;
}

std::vector<std::string> setting_lines(const json& settings) {
  std::vector<std::string> lines;
  if (!settings.is_object()) return lines;
  for (const auto& [name, value] : settings.items())
    lines.push_back(name + ": " + (value.is_string() ? value.get<std::string>() : to_text(value)));
  return lines;
}

std::vector<std::string> size_class_lines(const json& classes) {
  std::vector<std::string> lines;
  if (!classes.is_object()) return lines;
  for (const auto& [name, value] : classes.items()) lines.push_back(name + ": " + footprint_text(value));
  return lines;
}

std::vector<std::string> metric_lines(const json& metrics) {
  std::vector<std::string> lines;
  lines.reserve(metrics.size());
  for (const json& metric : metrics) {
    const std::string kind = text_field(metric, "kind") == "counter" ? " (counter)" : "";
    lines.push_back(text_field(metric, "name") + ": " + field(metric, "value").dump() + kind);
  }
  return lines;
}

std::vector<std::string> tool_lines(const json& tools) {
  constexpr std::size_t longest_line = 100;
  std::vector<std::string> lines;
  lines.reserve(tools.size());
  for (const json& tool : tools) {
    const std::string about = text_field(tool, "description");
    lines.push_back(
        shorten(printable(text_field(tool, "name") + (about.empty() ? "" : ": " + about)), longest_line));
  }
  return lines;
}

std::string agent_text(const json& agent) {
  const json& outcomes = field(agent, "outcomes");
  Rows rows = {{"agent", text_field(agent, "name")},
               {"protocol", text_field(agent, "protocol")},
               {"command", shorten(printable(joined(field(agent, "command"))), 200)},
               {"memory limit", size(agent, "memoryLimitBytes")},
               {"memory warning", size(agent, "memoryWarningBytes")},
               {"footprint", footprint_text(agent)}};
  const auto append = [&rows](const Rows& more) { rows.insert(rows.end(), more.begin(), more.end()); };
  append(titled("size classes", size_class_lines(field(agent, "sizeClasses"))));
  append({{"breaker", breaker_text(field(agent, "breaker"))},
          {"running", count(agent, "running")},
          {"queued", count(agent, "queued")},
          {"completed", count(outcomes, "completed")},
          {"failed", failures_text(agent)},
          {"cancelled", count(outcomes, "cancelled")},
          {"evicted", count(outcomes, "evicted")},
          {"restarts", count(agent, "restarts")}});
  append(titled("settings", setting_lines(field(agent, "settings"))));
  append(titled("tools", tool_lines(field(agent, "tools"))));
  append(titled("metrics", metric_lines(field(agent, "metrics"))));
  std::string out = facts(rows);
  for (const std::string& table :
       {worker_table(field(agent, "workerList")), task_table(field(agent, "tasks"))}) {
    if (!table.empty()) out += "\n" + table;
  }
  return out;
}

Answer<ExitStatus> show_agents(Http& http, const std::string& name, bool as_json) {
  if (name.empty()) return show(http, "/v1/agents", as_json, agents_text);
  return show(http, "/v1/agents/" + url_escaped(name), as_json, agent_text);
}

struct AgentsOptions {
  std::string name;
  bool json = false;
};

}  // namespace

void add_agents(Commands& commands) {
  auto& options = commands.keep<AgentsOptions>();
  Command command =
      commands.add("agents", "the configured agents and how they fare", "kurultai agents summarise");
  command.optional_argument("name", options.name, "NAME",
                            "all of this one: settings, workers, tasks, what became of its tasks");
  command.json_flag(options.json);
  command.asks([&options] { return options.name.empty() ? "agents" : "agents " + options.name; },
               [&options](Http& http) { return show_agents(http, options.name, options.json); });
}

}  // namespace kurultai
