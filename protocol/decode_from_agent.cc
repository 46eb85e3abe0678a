#include <algorithm>
#include <array>
#include <cmath>

#include "protocol/base64.h"
#include "protocol/decode_line.h"

namespace kurultai {
namespace {

constexpr std::size_t error_limit = 4096;
constexpr std::size_t stack_limit = 65536;
constexpr std::size_t progress_limit = 1024;
constexpr std::size_t log_limit = 16384;
constexpr std::int64_t most_int = std::numeric_limits<int>::max();

// A shell agent says no more than {"type":"READY"}.
FromAgent read_ready(Fields& in) {
  return Ready{.protocol = static_cast<int>(in.whole_or("protocol", protocol_version, 0, most_int)),
               .name = in.text_or("name", "")};
}

FromAgent read_progress(Fields& in) {
  return Progress{.task_id = in.id("taskId"),
                  .percent = std::clamp(in.number("percent"), 0.0, 100.0),
                  .message = in.text_or("message", "", progress_limit)};
}

FromAgent read_complete(Fields& in) {
  return Complete{.task_id = in.id("taskId"),
                  .result = in.value_if_any("result"),
                  .file_bytes = in.whole_if_sound("fileBytes").value_or(0),
                  .peak = {in.whole_if_sound("peakBytes").value_or(0)}};
}

std::optional<int> small_number(const Fields& in, std::string_view name) {
  const std::optional<std::int64_t> number = in.whole_if_sound(name, most_int);
  if (!number) return std::nullopt;
  return static_cast<int>(*number);
}

FromAgent read_failed(Fields& in) {
  return Failed{.task_id = in.id("taskId"),
                .error = in.text_of_anything("error", error_limit),
                .stack = in.text_or("stack", "", stack_limit),
                .retryable = in.flag_or("retryable", true),
                .reason = parse_fail_reason(in.text_if_sound("reason").value_or("")),
                .exit_code = small_number(in, "exitCode"),
                .signal = small_number(in, "signal"),
                .file_bytes = in.whole_if_sound("fileBytes").value_or(0),
                .result = in.value_if_any("result"),
                .peak = {in.whole_if_sound("peakBytes").value_or(0)}};
}

std::string decoded_data(Fields& in) {
  std::string data = in.text("data");
  const std::string encoding = in.text_or("encoding", "utf8");
  if (encoding == "utf8") return data;
  if (encoding != "base64") return in.fault("encoding", "is neither utf8 nor base64"), std::string();
  Result<std::string> decoded = decode_base64(data);
  if (!decoded) return in.fault("data", "is not " + decoded.error().message), std::string();
  return *std::move(decoded);
}

FromAgent read_chunk(Fields& in) { return Chunk{.task_id = in.id("taskId"), .data = decoded_data(in)}; }

FromAgent read_checkpoint(Fields& in) {
  return Checkpoint{.task_id = in.id("taskId"), .state = in.value("state")};
}

FromAgent read_preempted(Fields& in) {
  return Preempted{.task_id = in.id("taskId"), .state = in.value_if_any("state")};
}

std::optional<Bytes> amount(Fields& in, std::string_view name) {
  const std::optional<std::int64_t> count = in.whole_if_any(name);
  if (!count) return std::nullopt;
  return Bytes{*count};
}

FromAgent read_memory(Fields& in) {
  return HeapFigures{.heap_used = amount(in, "heapUsed"),
                     .heap_total = amount(in, "heapTotal"),
                     .external = amount(in, "external"),
                     .array_buffers = amount(in, "arrayBuffers")};
}

FromAgent read_metric(Fields& in) {
  Metric metric{.name = in.text("name"), .value = in.number("value")};
  const std::string kind = in.text_or("kind", "gauge");
  if (kind == "counter") {
    metric.kind = Metric::Kind::counter;
  } else if (kind != "gauge") {
    in.fault("kind", "is neither gauge nor counter");
  }
  return metric;
}

// The words of other loggers for the five levels; what nobody knows is info.
std::string level_named(std::string word) {
  for (char& c : word) {
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  }
  if (word == "trace" || word == "debug" || word == "warn" || word == "error") return word;
  if (word == "warning") return "warn";
  if (word == "critical" || word == "fatal") return "error";
  return "info";
}

FromAgent read_log(Fields& in) {
  return Log{.level = level_named(in.text_or("level", "info")), .message = in.text("message", log_limit)};
}

FromAgent read_breaker(Fields& in) {
  BreakerRequest request{.name = in.text("name"), .call = in.whole_or("call", 0)};
  const std::string op = in.text("op");
  if (op == "success") {
    request.op = BreakerRequest::Op::success;
  } else if (op == "failure") {
    request.op = BreakerRequest::Op::failure;
  } else if (op == "release") {
    request.op = BreakerRequest::Op::release;
  } else if (op != "acquire") {
    in.fault("op", "is neither acquire, success, failure nor release");
  }
  return request;
}

FromAgent read_pong(Fields& in) { return Pong{.seq = in.sequence("seq")}; }

FromAgent read_swept(Fields& in) {
  return Swept{.task_id = in.id("taskId"), .count = static_cast<int>(in.whole("count", 0, most_int))};
}

FromAgent read_tools(Fields& in) {
  Tools tools;
  for (auto& [name, description] : in.pairs("tools", "name", "description", Tools::most)) {
    tools.tools.push_back({std::string(utf8_prefix(name, Tools::longest_name)),
                           std::string(utf8_prefix(description, Tools::longest_description))});
  }
  return tools;
}

// The frequent ones first.
constexpr std::array<MessageType<FromAgent>, 14> types = {{
    {"PROGRESS", read_progress},
    {"COMPLETE", read_complete},
    {"CHUNK", read_chunk},
    {"LOG", read_log},
    {"MEMORY", read_memory},
    {"PONG", read_pong},
    {"METRIC", read_metric},
    {"FAILED", read_failed},
    {"CHECKPOINT", read_checkpoint},
    {"BREAKER", read_breaker},
    {"PREEMPTED", read_preempted},
    {"READY", read_ready},
    {"SWEPT", read_swept},
    {"TOOLS", read_tools},
}};
static_assert(types.size() == std::variant_size_v<FromAgent>);

}  // namespace

FromAgentLine decode_from_agent(std::string_view line) { return decode_line<FromAgent>(line, types); }

}  // namespace kurultai
