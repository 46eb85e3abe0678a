#include "supervisor/task.h"

#include <nlohmann/json.hpp>

#include "protocol/json_text.h"

namespace kurultai {

using nlohmann::json;

namespace {

json text_or_null(const std::string& text) { return text.empty() ? json() : json(text); }
json time_or_null(const std::optional<WallTime>& time) { return time ? json(to_rfc3339(*time)) : json(); }

template <typename T>
json value_or_null(const std::optional<T>& value) {
  return value ? json(*value) : json();
}

json error_json(const TaskError& error) {
  return {{"reason", to_string(error.reason)},
          {"message", error.message},
          {"stack", text_or_null(error.stack)},
          {"exitCode", value_or_null(error.exit_code)},
          {"signal", value_or_null(error.signal)}};
}

}  // namespace

void TaskLog::append(std::string_view more, std::size_t limit) {
  if (more.size() > limit) {  // cut before it is copied: a string never gives its room back
    dropped += text.size() + more.size() - limit;
    text.clear();
    more.remove_prefix(more.size() - limit);
  }
  text.append(more);
  if (text.size() <= limit) return;
  // Cut to three quarters, so that a busy log is not moved with every line.
  const std::size_t cut = text.size() - limit * 3 / 4;
  text.erase(0, cut);
  dropped += cut;
}

JsonText to_json(const Task& task) {
  json object = {{"taskId", task.id},
                 {"agent", task.agent},
                 {"priority", to_string(task.priority)},
                 {"state", to_string(task.state)},
                 {"attempt", task.attempt},
                 {"preemptions", task.preemptions},
                 {"submittedAt", to_rfc3339(task.submitted_at)},
                 {"startedAt", time_or_null(task.started_at)},
                 {"finishedAt", time_or_null(task.finished_at)},
                 {"waitMs", task.waited.count()},
                 {"runMs", task.ran.count()},
                 {"workerId", text_or_null(task.worker_id)},
                 {"progress", value_or_null(task.progress)},
                 {"message", text_or_null(task.message)},
                 {"peakMemoryBytes", task.peak.count},
                 {"logBytes", task.log.text.size()}};
  if (!task.idempotency_key.empty()) object["idempotencyKey"] = task.idempotency_key;
  if (!task.size_class.empty()) object["sizeClass"] = task.size_class;
  object["error"] = task.error ? error_json(*task.error) : json();
  std::string text = to_text(object);
  // The result is JSON text already: it is spliced in, not parsed again.
  text.pop_back();
  if (!task.result.inline_json.empty()) {
    text += ",\"result\":" + task.result.inline_json;
  } else if (!task.result.file.empty()) {
    text += ",\"resultBytes\":" + std::to_string(task.result.bytes);
  } else {
    text += ",\"result\":null";
  }
  return text + "}";
}

}  // namespace kurultai
