#include "supervisor/events.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "protocol/line_writer.h"
#include "protocol/overloaded.h"
#include "supervisor/task.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr const char* leak_weakness = "CWE-401";  // missing release of memory after effective lifetime

std::string_view name(WorkerEvent::Kind kind) {
  switch (kind) {
    case WorkerEvent::Kind::spawned:
      return "workerSpawned";
    case WorkerEvent::Kind::ready:
      return "workerReady";
    case WorkerEvent::Kind::exited:
      return "workerExited";
  }
  return "";
}

bool tells_more(const TaskEvent& body) {
  return body.kind == TaskEvent::Kind::progress || body.kind == TaskEvent::Kind::preempted ||
         (is_final(body.task.state) && body.task.error);
}

TaskEventFacts facts_told_by(const Event& event, const TaskEvent& body) {
  const Task& task = body.task;
  return {event.id,
          event.time,
          body.kind,
          task.priority,
          task.state,
          task.attempt,
          std::string(event.correlation_id == task.id ? std::string_view() : event.correlation_id),
          task.id,
          task.agent,
          task.worker_id,
          task.ran,
          task.waited,
          task.peak};
}

/// Most events are a task's: written without a tree of values, which cost as much as all else that a short
/// task needs.
LineWriter fields_of(const TaskEventFacts& facts) {
  LineWriter out(name_of(facts.kind), 128);
  out.whole("id", facts.id).text("time", to_rfc3339(facts.time));
  out.text("correlationId", facts.correlation_id.empty() ? facts.task_id : facts.correlation_id);
  out.text("taskId", facts.task_id).text("agent", facts.agent);
  out.text("priority", to_string(facts.priority)).text("state", to_string(facts.state));
  out.whole("attempt", facts.attempt);
  if (!facts.worker_id.empty()) out.text("workerId", facts.worker_id);
  if (!is_final(facts.state)) return out;
  out.whole("runMs", facts.ran.count()).whole("waitMs", facts.waited.count());
  out.whole("peakMemoryBytes", facts.peak.count);
  return out;
}

std::string text_of(const Event& event, const TaskEvent& body) {
  const Task& task = body.task;
  LineWriter out = fields_of(facts_told_by(event, body));
  if (body.kind == TaskEvent::Kind::progress) {
    out.real("percent", task.progress.value_or(0));
    if (!task.message.empty()) out.text("message", task.message);
  }
  if (body.kind == TaskEvent::Kind::preempted) {
    out.whole("preemptions", task.preemptions).text("reason", body.why);
    out.whole("reactionMs", body.reaction.count());
    if (!body.chosen_by.empty()) out.text("chosenBy", body.chosen_by);
  }
  if (is_final(task.state) && task.error) {
    LineWriter error(task.error->message.size());
    error.text("reason", to_string(task.error->reason)).text("message", task.error->message);
    out.raw("error", error.object());
  }
  return out.object();
}

json fields_of(const WorkerEvent& event) {
  json object = {{"workerId", event.worker_id}, {"agent", event.agent}, {"pid", event.pid}};
  if (event.kind == WorkerEvent::Kind::exited) {
    object["reason"] = event.reason;
    object["message"] = event.message;
    object["peakMemoryBytes"] = event.peak.count;
  }
  return object;
}

json fields_of(const DrainStatistics& statistics) {
  return {{"status", statistics.status},
          {"initial", statistics.initial},
          {"completed", statistics.completed},
          {"remaining", statistics.remaining},
          {"durationSeconds", statistics.duration_seconds}};
}

json fields_of(const EventBody& body) {
  return std::visit(
      overloaded{
          [](const Withheld& event) {
            json object = {{"action", event.action}, {"ratio", event.ratio}};
            if (!event.task_id.empty()) object["taskId"] = event.task_id;
            return object;
          },
          [](const TaskEvent&) { return json::object(); },  // see text_of
          [](const WorkerEvent& event) { return fields_of(event); },
          [](const TaskRejected& event) {
            return json{{"agent", event.agent},
                        {"priority", to_string(event.priority)},
                        {"code", event.code},
                        {"message", event.message}};
          },
          [](const HeartbeatSkipped& event) {
            return json{{"taskId", event.task.id}, {"agent", event.task.agent}, {"ratio", event.ratio}};
          },
          [](const MemoryWarning& event) {
            json object = {{"usedBytes", event.used.count}, {"warningBytes", event.warning.count}};
            if (event.mark != LeakLevel::none) {
              object["mark"] = to_string(event.mark);
              object["weakness"] = leak_weakness;
            }
            if (event.worker_id.empty()) return object;
            object["workerId"] = event.worker_id;
            object["agent"] = event.agent;
            object["limitBytes"] = event.limit.count;
            return object;
          },
          [](const LeakSuspected& event) {
            const LeakVerdict& verdict = event.verdict;
            json object = {{"level", to_string(verdict.level)},
                           {"usedBytes", event.used.count},
                           {"growthBytesPerHour", std::llround(verdict.growth_per_hour)},
                           {"confidence", verdict.confidence},
                           {"weakness", leak_weakness}};
            if (verdict.seconds_to_cap) object["secondsToCap"] = std::llround(*verdict.seconds_to_cap);
            if (event.worker_id.empty()) return object;
            object["workerId"] = event.worker_id;
            object["agent"] = event.agent;
            return object;
          },
          [](const ThresholdCrossed& event) {
            return json{{"threshold", to_string(event.threshold)},
                        {"direction", event.direction == Direction::up ? "up" : "down"},
                        {"ratio", event.ratio}};
          },
          [](const BudgetChanged& event) {
            return json{{"budgetBytes", event.budget.count},
                        {"configuredBytes", event.configured.count},
                        {"machineTotalBytes", event.machine.total.count},
                        {"machineAvailableBytes", event.machine.available.count},
                        {"machineReserveBytes", event.reserve.count},
                        {"machineGroup", event.machine.group}};
          },
          [](const OrphanSwept& event) {
            json object = {{"workerId", event.worker_id}, {"count", event.count}};
            if (!event.task_id.empty()) object["taskId"] = event.task_id;
            return object;
          },
          [](const ConfigReloaded& event) {
            return json{{"live", event.live}, {"needsRestart", event.needs_restart}};
          },
          [](const DrainEvent& event) { return fields_of(event.statistics); },
          [](const BreakerChanged& event) {
            return json{{"kind", event.kind}, {"name", event.name}, {"from", event.from}, {"to", event.to}};
          },
      },
      body);
}

}  // namespace

std::string_view name_of(TaskEvent::Kind kind) {
  switch (kind) {
    case TaskEvent::Kind::queued:
      return "taskQueued";
    case TaskEvent::Kind::started:
      return "taskStarted";
    case TaskEvent::Kind::progress:
      return "taskProgress";
    case TaskEvent::Kind::suspended:
      return "taskSuspended";
    case TaskEvent::Kind::resumed:
      return "taskResumed";
    case TaskEvent::Kind::preempted:
      return "taskPreempted";
    case TaskEvent::Kind::completed:
      return "taskCompleted";
    case TaskEvent::Kind::failed:
      return "taskFailed";
    case TaskEvent::Kind::cancelled:
      return "taskCancelled";
    case TaskEvent::Kind::evicted:
      return "taskEvicted";
  }
  return "";
}

std::string_view name_of(const Event& event) {
  return std::visit(
      overloaded{
          [](const Withheld&) { return std::string_view("governanceWithheld"); },
          [](const TaskEvent& body) { return name_of(body.kind); },
          [](const WorkerEvent& body) { return name(body.kind); },
          [](const TaskRejected&) { return std::string_view("taskRejected"); },
          [](const HeartbeatSkipped&) { return std::string_view("heartbeatSkipped"); },
          [](const MemoryWarning&) { return std::string_view("memoryWarning"); },
          [](const LeakSuspected&) { return std::string_view("leakSuspected"); },
          [](const ThresholdCrossed&) { return std::string_view("thresholdCrossed"); },
          [](const BudgetChanged&) { return std::string_view("budgetChanged"); },
          [](const OrphanSwept&) { return std::string_view("orphanSwept"); },
          [](const ConfigReloaded&) { return std::string_view("configReloaded"); },
          [](const DrainEvent& body) { return std::string_view(body.done ? "drained" : "draining"); },
          [](const BreakerChanged&) { return std::string_view("breakerChanged"); },
      },
      event.body);
}

std::string_view task_of(const Event& event) {
  if (const auto* task = std::get_if<TaskEvent>(&event.body)) return task->task.id;
  if (const auto* skipped = std::get_if<HeartbeatSkipped>(&event.body)) return skipped->task.id;
  if (const auto* swept = std::get_if<OrphanSwept>(&event.body)) return swept->task_id;
  return {};
}

std::string_view agent_of(const Event& event) {
  return std::visit(overloaded{
                        [](const TaskEvent& body) { return std::string_view(body.task.agent); },
                        [](const HeartbeatSkipped& body) { return std::string_view(body.task.agent); },
                        [](const BreakerChanged& body) { return body.kind == "agent" ? body.name : ""; },
                        [](const auto& body) {
                          if constexpr (requires { body.agent; }) return std::string_view(body.agent);
                          return std::string_view();
                        },
                    },
                    event.body);
}

std::string to_json(const Event& event) {
  if (const auto* about = std::get_if<TaskEvent>(&event.body)) return text_of(event, *about);
  json object = fields_of(event.body);
  object["type"] = name_of(event);
  object["id"] = event.id;
  object["time"] = to_rfc3339(event.time);
  object["correlationId"] = event.correlation_id;
  return to_text(object);
}

std::string to_json(const TaskEventFacts& facts) { return fields_of(facts).object(); }

std::optional<TaskEventFacts> facts_of(const Event& event) {
  const auto* about = std::get_if<TaskEvent>(&event.body);
  if (about == nullptr || tells_more(*about)) return std::nullopt;
  return facts_told_by(event, *about);
}

std::string to_json(const DrainStatistics& statistics) { return to_text(fields_of(statistics)); }

std::uint64_t first_event_id(WallTime start) {
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(start.time_since_epoch()).count();
  return static_cast<std::uint64_t>(std::max<std::int64_t>(since, 0)) * 1000 + 1;
}

void Events::emit(std::string_view correlation_id, EventBody body) {
  const Event event{++last_id_, clock_(), correlation_id, std::move(body)};
  for (const Sink& sink : sinks_) sink(event);
}

}  // namespace kurultai
