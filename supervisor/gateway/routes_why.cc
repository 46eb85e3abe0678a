// `GET /v1/tasks/{id}/why`: what decided over a task, on which figures.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "supervisor/gateway/gateway.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr std::size_t last_lines = 20;
constexpr std::size_t most_of_tail = 16 * 1024;

/// The last lines of a log.
std::string tail(std::string_view text) {
  std::size_t from = text.size();
  for (std::size_t lines = 0; lines < last_lines && from > 0; ++lines) {
    const std::size_t newline = from < 2 ? std::string_view::npos : text.rfind('\n', from - 2);
    from = newline == std::string_view::npos ? 0 : newline + 1;
  }
  return std::string(text.substr(from));
}

std::string sentence_of_waiting(const Task& task, const Dispatcher& dispatcher) {
  const std::string place =
      "waits in the queue, position " + std::to_string(dispatcher.queue().position(task.id).value_or(0));
  if (dispatcher.is_draining()) return place + "; the supervisor is draining";
  const Governor& governor = dispatcher.governor();
  if (!governor.allows_start(task.priority, dispatcher.pool().active() > 0)) {
    if (governor.keeps_room() && !governor.pressure().is_over(Threshold::preempt))
      return place + "; memory grows and is about to run out, so a " + std::string(to_string(task.priority)) +
             " task has to wait";
    const int percent = static_cast<int>(governor.pressure().ratio() * 100);
    return place + "; memory is at " + std::to_string(percent) + " % of the budget, and a " +
           std::string(to_string(task.priority)) + " task has to wait for it to fall";
  }
  if (const Duration held = dispatcher.held_back_for(task); held.count() > 0) {
    return place + "; agent '" + task.agent +
           "' keeps failing and its circuit is open: the next task may be tried in " +
           to_string(std::chrono::ceil<std::chrono::seconds>(held));
  }
  const auto pause = task.not_before - dispatcher.now();
  if (pause.count() > 0 && dispatcher.pool().active() > 0) {
    return place + "; it gave way " + std::to_string(task.preemptions) + " times, and pauses for another " +
           to_string(std::chrono::ceil<Duration>(pause)) + " while others run";
  }
  const Admission room = dispatcher.room_for(task);
  if (dispatcher.waits_for_room() && !std::holds_alternative<StartTask>(room)) {
    return place + "; it is expected to use " + to_string(dispatcher.footprint_of(task)) +
           ", which does not fit below the preempt threshold beside what runs" +
           (std::holds_alternative<MakeRoom>(room) ? "; room is being made" : "");
  }
  if (dispatcher.waits_for_room()) return place + "; a task before it waits for memory";
  return place + "; " + std::to_string(dispatcher.pool().active()) + " of " +
         std::to_string(dispatcher.worker_limit()) + " workers are busy";
}

/// What the last decision over the task was, in words.
std::string sentence_of(const Task& task, const Dispatcher& dispatcher) {
  if (task.state == TaskState::running) return "runs on " + task.worker_id;
  if (task.state == TaskState::suspended)
    return "is suspended on " + task.worker_id + ", its memory in swap, until there is room for it";
  if (task.state == TaskState::completed) return "completed";
  if (task.error) return std::string(to_string(task.error->reason)) + ": " + task.error->message;
  return sentence_of_waiting(task, dispatcher);
}

}  // namespace

void Gateway::get_why(const std::shared_ptr<Exchange>& exchange, const std::string& id) {
  const Task* task = dispatcher_.tasks().find(id);
  if (task == nullptr) return respond_error(*exchange, 404, "not_found", "there is no task " + id);
  if (task->log_bytes == 0) return respond_why(exchange, id, "");
  dispatcher_.logs().read(id, newest_of_log, most_of_tail,
                          [this, guard = std::weak_ptr(alive_), exchange, id](const LogPiece& piece) {
                            if (!guard.expired() && exchange->is_open())
                              respond_why(exchange, id, tail(piece.text));
                          });
}

void Gateway::respond_why(const std::shared_ptr<Exchange>& exchange, const std::string& id,
                          const std::string& log) {
  const Task* task = dispatcher_.tasks().find(id);
  if (task == nullptr) return respond_error(*exchange, 404, "not_found", "there is no task " + id);
  json decisions = json::array();
  for (const TaskReceipt& one : task->receipts) decisions.push_back(json::parse(to_json(one)));
  respond_json(*exchange, 200,
               to_text({{"taskId", task->id},
                        {"agent", task->agent},
                        {"priority", to_string(task->priority)},
                        {"state", to_string(task->state)},
                        {"preemptions", task->preemptions},
                        {"peakMemoryBytes", task->peak.count},
                        {"summary", sentence_of(*task, dispatcher_)},
                        {"decisions", std::move(decisions)},
                        {"memoryDeaths", json::parse(to_json(task->memory_deaths))},
                        {"log", log}}));
}

}  // namespace kurultai
