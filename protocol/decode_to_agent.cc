#include <array>

#include "protocol/decode_line.h"

namespace kurultai {
namespace {

constexpr std::int64_t most_int = std::numeric_limits<int>::max();

ToAgent read_hello(Fields& in) {
  return Hello{.worker_id = in.text("workerId"),
               .memory_limit = {in.whole("memoryLimitBytes")},
               .memory_warning = {in.whole("memoryWarningBytes")}};
}

Priority priority_of(Fields& in) {
  const std::optional<Priority> priority = parse_priority(in.text_or("priority", "normal"));
  if (!priority) in.fault("priority", "is no priority");
  return priority.value_or(Priority::normal);
}

void read_hosted(Fields& in, TaskMessage& task) {
  task.argv = in.texts_if_any("argv");
  task.result_file = in.text_or("resultFile", "");
  if (task.argv.empty() && task.result_file.empty()) return;  // the rest belongs to a host
  task.cwd = in.text_or("cwd", "");
  if (in.has("input")) task.input = in.text("input");
  task.output = in.value_if_any("output");
  task.inline_limit = {in.whole_or("inlineLimitBytes", 0)};
  task.result_limit = {in.whole_or("resultLimitBytes", 0)};
  task.grace = Duration{in.whole_or("graceMs", 0)};
  task.idempotent = in.flag_or("idempotent", true);
}

ToAgent read_task(Fields& in) {
  TaskMessage task;
  task.task_id = in.id("taskId");
  task.agent = in.text("agent");
  task.payload = in.value_if_any("payload");
  if (in.has("payloadFile")) task.payload_file = in.text("payloadFile");
  task.attempt = static_cast<int>(in.whole_or("attempt", 1, 0, most_int));
  task.priority = priority_of(in);
  task.deadline = Duration{in.whole_or("deadlineMs", 0)};
  task.checkpoint = in.value_if_any("checkpoint");
  read_hosted(in, task);
  return task;
}

ToAgent read_cancel(Fields& in) {
  return Cancel{.task_id = in.id("taskId"), .reason = in.text_or("reason", "")};
}

ToAgent read_preempt(Fields& in) {
  return Preempt{.task_id = in.id("taskId"), .grace = Duration{in.whole("graceMs")}};
}

ToAgent read_pressure(Fields& in) {
  return PressureHint{.level = static_cast<int>(in.whole("level", 0, most_int)), .ratio = in.number("ratio")};
}

ToAgent read_ping(Fields& in) { return Ping{.seq = in.sequence("seq")}; }

ToAgent read_shutdown(Fields& in) { return Shutdown{.grace = Duration{in.whole("graceMs")}}; }

ToAgent read_breaker(Fields& in) {
  return BreakerAnswer{.name = in.text("name"),
                       .allow = in.flag_or("allow", true),
                       .retry_after = Duration{in.whole_or("retryAfterMs", 0)},
                       .call = in.whole_or("call", 0),
                       .note = in.text_or("note", "")};
}

constexpr std::array<MessageType<ToAgent>, 8> types = {{
    {"TASK", read_task},
    {"PING", read_ping},
    {"CANCEL", read_cancel},
    {"PREEMPT", read_preempt},
    {"PRESSURE", read_pressure},
    {"HELLO", read_hello},
    {"SHUTDOWN", read_shutdown},
    {"BREAKER", read_breaker},
}};
static_assert(types.size() == std::variant_size_v<ToAgent>);

}  // namespace

ToAgentLine decode_to_agent(std::string_view line) { return decode_line<ToAgent>(line, types); }

}  // namespace kurultai
