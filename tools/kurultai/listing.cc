// `ps` and `task`: what the tasks are doing and how they ended.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <tuple>

#include "protocol/json_text.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/table.h"
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

int rank(const TaskView& task) {
  if (task.state == TaskState::running) return 0;
  if (task.state == TaskState::suspended) return 1;
  if (task.state == TaskState::queued) return 2;
  return 3;
}

/// Running, suspended, queued in the supervisor's order; then the finished ones, the newest first, also of
/// those that ended in the same millisecond.
void sort_for_people(std::vector<TaskView>& tasks) {
  std::ranges::stable_sort(tasks, [](const TaskView& a, const TaskView& b) {
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    return rank(a) == 3 && std::tie(a.finished_at, a.submitted_at) > std::tie(b.finished_at, b.submitted_at);
  });
}

std::string detail(const TaskView& task) {
  if (task.state == TaskState::failed || task.state == TaskState::evicted)
    return shorten(describe_failure(task), 60);
  if (task.finished()) return "";
  std::string out = task.progress ? percent(*task.progress / 100) : "";
  if (!task.message.empty()) out += (out.empty() ? "" : " ") + task.message;
  if (task.preemptions > 0)
    out += (out.empty() ? "preempted " : ", preempted ") + std::to_string(task.preemptions) + "x";
  return shorten(printable(out), 60);
}

std::string run_time(const TaskView& task, WallTime now) {
  if (task.ran && task.finished()) return brief(*task.ran);
  return task.state == TaskState::running ? age(task.started_at, now) : "";
}

std::string task_table(const json& tasks) {
  std::vector<TaskView> views;
  for (const auto& task : tasks) views.push_back(decode_task(task));
  sort_for_people(views);
  Table table({{"TASK"},
               {"AGENT"},
               {"PRIORITY"},
               {"STATE"},
               {"AGE", Align::right},
               {"RAN", Align::right},
               {"PEAK", Align::right},
               {"DETAIL"}});
  const WallTime now = std::chrono::system_clock::now();
  for (const auto& task : views) {
    table.add({task.id, task.agent, task.priority, task.state_text, age(task.submitted_at, now),
               run_time(task, now), task.peak ? brief(*task.peak) : "", detail(task)});
  }
  return table.text();
}

std::string count_text(int count) { return count == 0 ? "" : std::to_string(count); }

std::string result_text(const TaskView& task, const json& object) {
  if (task.result_bytes) return brief(*task.result_bytes) + ", see `kurultai result " + task.id + "`";
  return task.has_result ? shorten(printable(to_text(field(object, "result"))), 200) : "";
}

std::string task_facts(const json& object) {
  const TaskView task = decode_task(object);
  const std::string done = task.progress ? percent(*task.progress / 100) : "";
  return facts({{"task", task.id},
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
                {"stack", task.stack}});
}

}  // namespace

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

Answer<ExitStatus> show_task(Http& http, const std::string& id, bool as_json) {
  const auto body = get(http, task_path(id));
  if (!body) return std::unexpected(body.error());
  const auto object = parse_answer(*body);
  if (!object) return std::unexpected(object.error());
  std::fputs(as_json ? (*body + "\n").c_str() : task_facts(*object).c_str(), stdout);
  return ExitStatus::done;
}

}  // namespace kurultai
