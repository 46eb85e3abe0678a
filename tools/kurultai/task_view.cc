#include "tools/kurultai/task_view.h"

#include <nlohmann/json.hpp>

#include "tools/kurultai/fields.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

std::optional<int> small_int(const nlohmann::json& object, const char* name) {
  const auto value = int_field(object, name);
  if (!value) return std::nullopt;
  return static_cast<int>(*value);
}

void decode_times(const nlohmann::json& object, TaskView& task) {
  task.submitted_at = text_field(object, "submittedAt");
  task.started_at = text_field(object, "startedAt");
  task.finished_at = text_field(object, "finishedAt");
  task.waited = ms_field(object, "waitMs");
  task.ran = ms_field(object, "runMs");
}

void decode_error(const nlohmann::json& error, TaskView& task) {
  task.reason = text_field(error, "reason");
  task.error = text_field(error, "message");
  task.stack = text_field(error, "stack");
  task.exit_code = small_int(error, "exitCode");
  task.signal = small_int(error, "signal");
  const auto& quarantined = field(error, "quarantined");
  task.quarantined = quarantined.is_boolean() && quarantined.get<bool>();
}

}  // namespace

TaskView decode_task(const nlohmann::json& object) {
  TaskView task;
  task.id = text_field(object, "taskId");
  task.agent = text_field(object, "agent");
  task.priority = text_field(object, "priority");
  task.worker = text_field(object, "workerId");
  task.message = text_field(object, "message");
  task.state_text = text_field(object, "state");
  task.state = parse_task_state(task.state_text);
  task.attempt = small_int(object, "attempt").value_or(1);
  task.preemptions = small_int(object, "preemptions").value_or(0);
  task.progress = number_field(object, "progress");
  task.peak = bytes_field(object, "peakMemoryBytes");
  if (task.peak == Bytes{0}) task.peak.reset();  // it has not run, or was over before it was measured
  task.result_bytes = bytes_field(object, "resultBytes");
  task.has_result = task.result_bytes.has_value() || !field(object, "result").is_null();
  task.log_bytes = int_field(object, "logBytes");
  decode_times(object, task);
  decode_error(field(object, "error"), task);
  return task;
}

std::string describe_failure(const TaskView& task) {
  std::string out = task.reason.empty() ? task.state_text : task.reason;
  if (!task.error.empty()) out += ": " + task.error;
  if (task.reason.starts_with("memory_") && task.peak && task.error.find("peak") == std::string::npos) {
    out += " (peak " + brief(*task.peak) + ")";
  }
  if (task.quarantined) out += "; it will not be tried again";
  return out;
}

std::string run_time(const TaskView& task, WallTime now) {
  if (task.ran && task.finished()) return brief(*task.ran);
  return task.state == TaskState::running ? age(task.started_at, now) : "";
}

}  // namespace kurultai
