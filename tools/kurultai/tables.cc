#include "tools/kurultai/tables.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tools/kurultai/cells.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/table.h"
#include "tools/kurultai/task_view.h"
#include "tools/kurultai/text.h"

namespace kurultai {

using nlohmann::json;

namespace {

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

}  // namespace

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
  return table.empty() ? "" : table.text();
}

namespace {

/// "suspect 12s: no PONG within 5s"
std::string health_text(const json& health) {
  std::string status = text_field(health, "status"), reason = text_field(health, "reason");
  if (status.empty() || status == "unknown") return status;
  return status + " " + since(health, "since") + (reason.empty() ? "" : ": " + reason);
}

}  // namespace

std::string worker_table(const json& workers) {
  Table table({{"WORKER"},
               {"AGENT"},
               {"PID", Align::right},
               {"STATE"},
               {"HEALTH"},
               {"CHECKED", Align::right},
               {"MEMORY", Align::right},
               {"LIMIT", Align::right},
               {"PEAK", Align::right},
               {"AGE", Align::right},
               {"DONE", Align::right},
               {"TASKS"}});
  for (const auto& worker : workers) {
    table.add({text_field(worker, "workerId"), text_field(worker, "agent"), count(worker, "pid"),
               text_field(worker, "state"), health_text(field(worker, "health")),
               since(field(worker, "health"), "checkedAt"), size(worker, "memoryBytes"),
               size(worker, "memoryLimitBytes"), size(worker, "peakMemoryBytes"), since(worker, "startedAt"),
               count(worker, "tasksDone"), joined(field(worker, "tasks"))});
  }
  return table.empty() ? "" : table.text();
}

}  // namespace kurultai
