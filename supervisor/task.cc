#include "supervisor/task.h"

#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "protocol/line_writer.h"

namespace kurultai {

namespace {

void text_or_null(LineWriter& out, std::string_view name, const std::string& text) {
  if (text.empty()) {
    out.raw(name, "null");
  } else {
    out.text(name, text);
  }
}

void time_or_null(LineWriter& out, std::string_view name, const std::optional<WallTime>& time) {
  text_or_null(out, name, time ? to_rfc3339(*time) : std::string());
}

void number_or_null(LineWriter& out, std::string_view name, const std::optional<int>& number) {
  out.raw(name, number ? std::to_string(*number) : "null");
}

std::string error_text(const TaskError& error) {
  LineWriter out(error.message.size() + error.stack.size());
  out.text("reason", to_string(error.reason)).text("message", error.message);
  text_or_null(out, "stack", error.stack);
  number_or_null(out, "exitCode", error.exit_code);
  number_or_null(out, "signal", error.signal);
  if (error.quarantined) out.flag("quarantined", true);
  return out.object();
}

}  // namespace

JsonText to_json(const TaskReceipt& one) {
  if (one.receipt == nullptr) return one.text;
  nlohmann::json object = to_json(*one.receipt);
  object["reactionMs"] = one.reaction ? nlohmann::json(one.reaction->count()) : nlohmann::json();
  return to_text(object);
}

JsonText to_json(const std::vector<MemoryDeath>& deaths) {
  std::string all;
  for (const MemoryDeath& one : deaths) {
    LineWriter out;
    out.whole("capBytes", one.cap.count).whole("peakBytes", one.peak.count);
    out.whole("ranMs", one.ran.count()).text("time", to_rfc3339(one.at));
    all += (all.empty() ? "" : ",") + out.object();
  }
  return "[" + all + "]";
}

namespace {

/// The fields of every answer.
LineWriter fields_of(const Task& task) {
  LineWriter out(256 + task.result.inline_json.size());
  out.text("taskId", task.id).text("agent", task.agent).text("priority", to_string(task.priority));
  out.text("state", to_string(task.state)).whole("attempt", task.attempt);
  out.whole("preemptions", task.preemptions).text("submittedAt", to_rfc3339(task.submitted_at));
  time_or_null(out, "startedAt", task.started_at);
  const bool ended = !task.ends_as;  // or nobody knows yet
  time_or_null(out, "finishedAt", ended ? task.finished_at : std::nullopt);
  out.whole("waitMs", task.waited.count()).whole("runMs", task.ran.count());
  text_or_null(out, "workerId", task.worker_id);
  if (task.progress) {
    out.real("progress", *task.progress);
  } else {
    out.raw("progress", "null");
  }
  text_or_null(out, "message", task.message);
  out.whole("peakMemoryBytes", task.peak.count).whole("logBytes", task.log_bytes);
  const auto own_limit = task.grown_limit ? task.grown_limit : task.memory_limit;
  if (own_limit) out.whole("memoryLimitBytes", own_limit->count);
  if (!task.idempotency_key.empty()) out.text("idempotencyKey", task.idempotency_key);
  if (!task.size_class.empty()) out.text("sizeClass", task.size_class);
  out.raw("error", task.error && ended ? error_text(*task.error) : "null");
  if (!ended) {
    out.raw("result", "");
  } else if (!task.result.file.empty()) {
    out.whole("resultBytes", task.result.bytes);
  } else {
    out.raw("result", task.result.inline_json);  // JSON text already
  }
  return out;
}

JsonText transition_json(const Transition& one) {
  LineWriter out;
  out.text("state", to_string(one.state)).text("time", to_rfc3339(one.at)).whole("attempt", one.attempt);
  if (!one.why.empty()) out.text(one.state == TaskState::running ? "workerId" : "reason", one.why);
  return out.object();
}

}  // namespace

JsonText to_json(const Task& task) { return fields_of(task).object(); }

JsonText to_json_with_history(const Task& task) {
  const TaskHistory history = history_of(task);
  std::string all;
  for (const Transition& one : history.transitions) all += (all.empty() ? "[" : ",") + transition_json(one);
  LineWriter out = fields_of(task);
  out.raw("history", all + "]").whole("historyDropped", history.dropped);
  return out.object();
}

}  // namespace kurultai
