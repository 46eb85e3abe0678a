#include "tools/kurultai/top/state.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/kurultai/fields.h"
#include "tools/kurultai/task_view.h"
#include "tools/kurultai/text.h"

namespace kurultai {

using nlohmann::json;

namespace {

Bytes bytes(const json& object, const char* name) { return bytes_field(object, name).value_or(Bytes{}); }

std::vector<std::string> texts(const json& list) {
  std::vector<std::string> out;
  for (const json& item : list) {
    if (item.is_string()) out.push_back(printable(item.get<std::string>()));
  }
  return out;
}

std::string text(const json& object, const char* name) { return printable(text_field(object, name)); }

std::vector<TopMark> marks_of(const json& thresholds) {
  std::vector<TopMark> marks;
  if (!thresholds.is_object()) return marks;
  for (const auto& [name, at] : thresholds.items()) {
    if (at.is_number()) marks.push_back({printable(name), at.get<double>()});
  }
  std::ranges::sort(marks, {}, &TopMark::at);
  return marks;
}

void decode_health(const json& health, TopState& state) {
  state.status = text(health, "status");
  state.guarantee = text(health, "guarantee");
  state.troubles = texts(field(health, "troubles"));
  state.draining = field(health, "draining") == true;
  const double up = number_field(health, "uptimeSeconds").value_or(0);
  state.up = Duration(static_cast<std::int64_t>(up * 1000));
  const json& memory = field(health, "memory");
  state.used = bytes(memory, "usedBytes");
  state.budget = bytes(memory, "budgetBytes");
  state.supervisor = bytes(field(memory, "supervisor"), "rssBytes");
  state.workers_used = bytes(memory, "workersBytes");
  state.swap = bytes(memory, "swapBytes");
  state.marks = marks_of(field(memory, "thresholds"));
  state.over = texts(field(memory, "over"));
}

TopWorker decode_worker(const json& object) {
  TopWorker worker;
  worker.id = text(object, "workerId");
  worker.agent = text(object, "agent");
  worker.state = text(object, "state");
  worker.leak = text(object, "leak");
  worker.memory = bytes(object, "memoryBytes");
  worker.limit = bytes(object, "memoryLimitBytes");
  worker.started = parse_rfc3339(text_field(object, "startedAt"));
  return worker;
}

TopTask decode_row(const json& object, const std::map<std::string, Bytes>& held) {
  const TaskView view = decode_task(object);
  TopTask task;
  task.id = printable(view.id);
  task.agent = printable(view.agent);
  task.priority = printable(view.priority);
  task.state = printable(view.state_text);
  task.message = printable(view.message);
  task.progress = view.progress;
  task.started = parse_rfc3339(view.started_at);
  if (const auto worker = held.find(view.worker); worker != held.end()) task.memory = worker->second;
  return task;
}

}  // namespace

TopState decode_top(const json& health, const json& workers, const json& queue, const json& tasks) {
  TopState state;
  decode_health(health, state);
  std::map<std::string, Bytes> held;
  for (const json& object : field(workers, "workers")) {
    state.workers.push_back(decode_worker(object));
    held[text_field(object, "workerId")] = state.workers.back().memory;
  }
  for (const json& object : field(tasks, "tasks")) state.tasks.push_back(decode_row(object, held));
  for (const json& level : field(queue, "levels")) {
    state.levels.push_back({text(level, "priority"), int_field(level, "waiting").value_or(0),
                            int_field(level, "limit").value_or(0)});
  }
  state.waiting = int_field(queue, "depth").value_or(0);
  state.most_waiting = int_field(queue, "maxDepth").value_or(0);
  state.returned = int_field(queue, "returned").value_or(0);
  return state;
}

}  // namespace kurultai
