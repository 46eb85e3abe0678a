// `ps` and `task`: what the tasks are doing and how they ended.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/table.h"
#include "tools/kurultai/tables.h"
#include "tools/kurultai/task_view.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr const char* live_states = "queued,running,suspended";
constexpr const char* final_states = "completed,failed,cancelled,evicted";
constexpr std::size_t newest_finished = 10;
constexpr std::size_t page_size = 200;

std::string list_path(const std::string& states, const std::string& agent, std::size_t limit) {
  return "/v1/tasks?state=" + states + "&limit=" + std::to_string(limit) +
         (agent.empty() ? "" : "&agent=" + url_escaped(agent));
}

/// Appends all tasks of these states to `out`, page by page.
Answer<ExitStatus> fetch_all(Http& http, const std::string& states, const std::string& agent, json& out) {
  std::string cursor;
  do {
    std::string path = list_path(states, agent, page_size);
    if (!cursor.empty()) path += "&after=" + url_escaped(cursor);
    const auto page = get_json(http, path);
    if (!page) return std::unexpected(page.error());
    for (const auto& task : field(*page, "tasks")) out.push_back(task);
    cursor = text_field(*page, "next");
  } while (!cursor.empty());
  return ExitStatus::done;
}

Answer<ExitStatus> fetch_newest_finished(Http& http, const std::string& agent, json& out) {
  const auto page = get_json(http, list_path(final_states, agent, newest_finished) + "&order=newest");
  if (!page) return std::unexpected(page.error());
  for (const auto& task : field(*page, "tasks")) out.push_back(task);
  return ExitStatus::done;
}

std::string count_text(int count) { return count == 0 ? "" : std::to_string(count); }

std::string result_text(const TaskView& task, const json& object) {
  if (task.result_bytes) return brief(*task.result_bytes) + ", see `kurultai result " + task.id + "`";
  return task.has_result ? shorten(printable(to_text(field(object, "result"))), 200) : "";
}

/// One line of what the task went through: `running 2026-11-21T05:24:02.688Z attempt 1 w3`.
std::string transition_text(const json& one) {
  std::string text = text_field(one, "state") + " " + text_field(one, "time");
  if (const auto attempt = int_field(one, "attempt")) text += " attempt " + std::to_string(*attempt);
  for (const char* name : {"workerId", "reason"}) {
    if (const std::string why = text_field(one, name); !why.empty()) text += " " + why;
  }
  return text;
}

/// Of a task that ran more than once; any other's facts tell it all.
std::vector<std::pair<std::string, std::string>> history_rows(const json& object) {
  static constexpr std::size_t of_one_run = 3;  // queued, running, its end
  const json& history = field(object, "history");
  if (!history.is_array() || history.size() <= of_one_run) return {};
  const auto dropped = int_field(object, "historyDropped").value_or(0);
  std::vector<std::pair<std::string, std::string>> rows;
  rows.reserve(history.size() + 1);
  for (const json& one : history) {
    rows.emplace_back(rows.empty() ? "history" : "", transition_text(one));
    if (rows.size() == 1 && dropped > 0)
      rows.emplace_back("", std::to_string(dropped) + " more that are no longer kept");
  }
  return rows;
}

std::string task_rows(const json& object) {
  const TaskView task = decode_task(object);
  const std::string done = task.progress ? percent(*task.progress / 100) : "";
  std::vector<std::pair<std::string, std::string>> rows = {
      {"task", task.id},
      {"agent", task.agent},
      {"priority", task.priority},
      {"state", task.state_text},
      {"attempt", std::to_string(task.attempt)},
      {"preemptions", count_text(task.preemptions)},
      {"submitted", task.submitted_at},
      {"started", task.started_at},
      {"finished", task.finished_at},
      {"waited", task.waited ? brief(*task.waited) : ""},
      {"ran", run_time(task, std::chrono::system_clock::now())},
      {"worker", task.worker},
      {"progress", done},
      {"message", task.message},
      {"peak memory", task.peak ? brief(*task.peak) : ""},
      {"result", result_text(task, object)},
      {"error", task.reason.empty() ? "" : describe_failure(task)},
      {"exit status", task.exit_code ? std::to_string(*task.exit_code) : ""},
      {"signal", task.signal ? std::to_string(*task.signal) : ""},
      {"stack", task.stack}};
  std::ranges::move(history_rows(object), std::back_inserter(rows));
  return facts(rows);
}

struct ListOptions {
  bool all = false;  // every finished task, not only the newest
  std::string state, agent;
  bool json = false;
};

Answer<ExitStatus> list_tasks(Http& http, const ListOptions& options) {
  json tasks = json::array();
  const std::string first = options.state.empty() ? live_states : url_escaped(options.state);
  if (auto got = fetch_all(http, first, options.agent, tasks); !got) return got;
  if (options.state.empty()) {
    const auto got = options.all ? fetch_all(http, final_states, options.agent, tasks)
                                 : fetch_newest_finished(http, options.agent, tasks);
    if (!got) return got;
  }
  if (options.json) {
    std::printf("%s\n", to_text({{"tasks", tasks}, {"next", nullptr}}).c_str());
  } else if (tasks.empty()) {
    std::printf("no tasks\n");
  } else {
    std::fputs(task_table(tasks).c_str(), stdout);
  }
  return ExitStatus::done;
}

void add_ps(Commands& commands) {
  auto& options = commands.keep<ListOptions>();
  Command command = commands.add("ps", "tasks: what runs and waits, and the newest that ended",
                                 "kurultai ps -a --agent summarise");
  command.flag("-a,--all", options.all, "every task that is still known");
  command.option("--state", options.state, "STATE", "only these, as in failed,evicted");
  command.option("--agent", options.agent, "AGENT", "only this agent's");
  command.json_flag(options.json);
  command.asks("ps", [&options](Http& http) { return list_tasks(http, options); });
}

struct TaskOptions {
  std::string id;
  bool json = false;
};

void add_task(Commands& commands) {
  auto& options = commands.keep<TaskOptions>();
  Command command = commands.add("task", "one task in full", "kurultai task 8f3a");
  command.argument("id", options.id, "ID", "the task's id");
  command.json_flag(options.json);
  command.asks([&options] { return "task " + options.id; },
               [&options](Http& http) { return show(http, task_path(options.id), options.json, task_rows); });
}

}  // namespace

void add_listing(Commands& commands) {
  add_ps(commands);
  add_task(commands);
}

}  // namespace kurultai
