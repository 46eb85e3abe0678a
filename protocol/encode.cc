#include <utility>

#include "protocol/base64.h"
#include "protocol/codec.h"
#include "protocol/json_text.h"
#include "protocol/line_writer.h"
#include "protocol/utf8.h"

namespace kurultai {
namespace {

void raw_if_any(LineWriter& out, std::string_view name, const JsonText& json) {
  if (!json.empty()) out.raw(name, json);
}

void text_if_any(LineWriter& out, std::string_view name, const std::string& text) {
  if (!text.empty()) out.text(name, text);
}

void count_if_any(LineWriter& out, std::string_view name, std::int64_t count) {
  if (count != 0) out.whole(name, count);
}

std::string quoted_list(const std::vector<std::string>& texts) {
  std::string list = "[";
  for (const std::string& text : texts) {
    if (list.size() > 1) list += ',';
    append_quoted(list, text);
  }
  return list += ']';
}

// ---- supervisor → agent

std::string write(const Hello& hello) {
  return LineWriter("HELLO")
      .whole("protocol", protocol_version)
      .text("workerId", hello.worker_id)
      .whole("memoryLimitBytes", hello.memory_limit.count)
      .whole("memoryWarningBytes", hello.memory_warning.count)
      .line();
}

void write_hosted(LineWriter& out, const TaskMessage& task) {
  if (!task.argv.empty()) out.raw("argv", quoted_list(task.argv));
  out.text("resultFile", task.result_file);
  if (!task.cwd.empty()) out.text("cwd", task.cwd);
  if (task.input) out.text("input", *task.input);
  raw_if_any(out, "output", task.output);
  out.whole("inlineLimitBytes", task.inline_limit.count).whole("resultLimitBytes", task.result_limit.count);
  out.whole("graceMs", task.grace.count());
  if (!task.idempotent) out.flag("idempotent", false);
}

std::string write(const TaskMessage& task) {
  LineWriter out("TASK",
                 task.payload.size() + task.checkpoint.size() + (task.input ? task.input->size() : 0));
  out.text("taskId", task.task_id).text("agent", task.agent);
  raw_if_any(out, "payload", task.payload);
  if (task.payload_file) out.text("payloadFile", *task.payload_file);
  out.whole("attempt", task.attempt).text("priority", to_string(task.priority));
  // 0 stands for "no deadline" on this side; an agent would take it for one that is over.
  if (task.deadline.count() > 0) out.whole("deadlineMs", task.deadline.count());
  raw_if_any(out, "checkpoint", task.checkpoint);
  if (!task.argv.empty() || !task.result_file.empty()) write_hosted(out, task);
  return out.line();
}

std::string write(const Cancel& cancel) {
  return LineWriter("CANCEL").text("taskId", cancel.task_id).text("reason", cancel.reason).line();
}

std::string write(const Preempt& preempt) {
  return LineWriter("PREEMPT").text("taskId", preempt.task_id).whole("graceMs", preempt.grace.count()).line();
}

std::string write(const PressureHint& pressure) {
  return LineWriter("PRESSURE").whole("level", pressure.level).real("ratio", pressure.ratio).line();
}

std::string write(const Ping& ping) { return LineWriter("PING").whole("seq", ping.seq).line(); }

std::string write(const Shutdown& shutdown) {
  return LineWriter("SHUTDOWN").whole("graceMs", shutdown.grace.count()).line();
}

std::string write(const BreakerAnswer& answer) {
  LineWriter out("BREAKER");
  out.text("name", answer.name).flag("allow", answer.allow).whole("retryAfterMs", answer.retry_after.count());
  if (answer.call != 0) out.whole("call", answer.call);
  text_if_any(out, "note", answer.note);
  return out.line();
}

// ---- agent → supervisor

std::string write(const Ready& ready) {
  return LineWriter("READY").whole("protocol", ready.protocol).text("name", ready.name).line();
}

std::string write(const Progress& progress) {
  LineWriter out("PROGRESS");
  out.text("taskId", progress.task_id).real("percent", progress.percent);
  text_if_any(out, "message", progress.message);
  return out.line();
}

std::string write(const Complete& complete) {
  LineWriter out("COMPLETE", complete.result.size());
  out.text("taskId", complete.task_id);
  raw_if_any(out, "result", complete.result);
  count_if_any(out, "fileBytes", complete.file_bytes);
  count_if_any(out, "peakBytes", complete.peak.count);
  return out.line();
}

std::string write(const Failed& failed) {
  LineWriter out("FAILED", failed.error.size() + failed.stack.size() + failed.result.size());
  out.text("taskId", failed.task_id).text("error", failed.error);
  text_if_any(out, "stack", failed.stack);
  out.flag("retryable", failed.retryable);
  if (failed.reason) out.text("reason", to_string(*failed.reason));
  if (failed.exit_code) out.whole("exitCode", *failed.exit_code);
  if (failed.signal) out.whole("signal", *failed.signal);
  count_if_any(out, "fileBytes", failed.file_bytes);
  raw_if_any(out, "result", failed.result);
  count_if_any(out, "peakBytes", failed.peak.count);
  return out.line();
}

std::string write(const Chunk& chunk) {
  LineWriter out("CHUNK", chunk.data.size());
  out.text("taskId", chunk.task_id);
  if (is_utf8(chunk.data)) return out.text("data", chunk.data).line();
  return out.text("data", encode_base64(chunk.data)).text("encoding", "base64").line();
}

std::string write(const Checkpoint& checkpoint) {
  return LineWriter("CHECKPOINT", checkpoint.state.size())
      .text("taskId", checkpoint.task_id)
      .raw("state", checkpoint.state)
      .line();
}

std::string write(const Preempted& preempted) {
  LineWriter out("PREEMPTED", preempted.state.size());
  out.text("taskId", preempted.task_id);
  raw_if_any(out, "state", preempted.state);
  return out.line();
}

std::string write(const HeapFigures& heap) {
  LineWriter out("MEMORY");
  if (heap.heap_used) out.whole("heapUsed", heap.heap_used->count);
  if (heap.heap_total) out.whole("heapTotal", heap.heap_total->count);
  if (heap.external) out.whole("external", heap.external->count);
  if (heap.array_buffers) out.whole("arrayBuffers", heap.array_buffers->count);
  return out.line();
}

std::string write(const Metric& metric) {
  return LineWriter("METRIC")
      .text("name", metric.name)
      .real("value", metric.value)
      .text("kind", metric.kind == Metric::Kind::counter ? "counter" : "gauge")
      .line();
}

std::string write(const Log& log) {
  return LineWriter("LOG", log.message.size()).text("level", log.level).text("message", log.message).line();
}

std::string_view word_of(BreakerRequest::Op op) {
  switch (op) {
    case BreakerRequest::Op::acquire:
      return "acquire";
    case BreakerRequest::Op::success:
      return "success";
    case BreakerRequest::Op::failure:
      return "failure";
    case BreakerRequest::Op::release:
      return "release";
  }
  __builtin_unreachable();
}

std::string write(const BreakerRequest& request) {
  LineWriter out("BREAKER");
  out.text("name", request.name).text("op", word_of(request.op));
  if (request.call != 0) out.whole("call", request.call);
  return out.line();
}

std::string write(const Pong& pong) { return LineWriter("PONG").whole("seq", pong.seq).line(); }

std::string write(const Swept& swept) {
  return LineWriter("SWEPT").text("taskId", swept.task_id).whole("count", swept.count).line();
}

std::string write(const Tools& tools) {
  std::string list = "[";
  for (const Tool& tool : tools.tools) {
    if (list.size() > 1) list += ',';
    list += LineWriter(tool.description.size())
                .text("name", tool.name)
                .text("description", tool.description)
                .object();
  }
  return LineWriter("TOOLS", list.size()).raw("tools", list + "]").line();
}

}  // namespace

std::string encode(const ToAgent& message) {
  return std::visit([](const auto& one) { return write(one); }, message);
}

std::string encode(const FromAgent& message) {
  return std::visit([](const auto& one) { return write(one); }, message);
}

}  // namespace kurultai
