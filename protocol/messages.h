// The agent protocol, version 1, as types: what supervisor and agents say to each other.
// JSON values travel as compact JSON text (`JsonText`), so that nothing past the codec handles untyped trees.
// Every member has an initializer, so that a message can be written with the names of only those that matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

inline constexpr int protocol_version = 1;

using JsonText = std::string;

// ---- supervisor → agent

struct Hello {
  std::string worker_id{};
  Bytes memory_limit{};
  Bytes memory_warning{};
  bool operator==(const Hello&) const = default;
};

struct TaskMessage {
  std::string task_id{};
  std::string agent{};
  JsonText payload{};  // empty: none was given
  std::optional<std::string> payload_file{};
  int attempt = 1;
  Priority priority = Priority::normal;
  Duration deadline{};    // from now on; sent as deadlineMs
  JsonText checkpoint{};  // empty: none was left

  // For our own hosts alone: where a result longer than `inline_limit` goes, and for the exec host the
  // command.
  std::vector<std::string> argv{};
  std::string cwd{};                   // empty: the host's own
  std::optional<std::string> input{};  // what the command reads in the place of its payload
  JsonText output{};                   // what its stdout is (output_order.h); empty: the result
  std::string result_file{};           // empty: the agent is no host of ours
  Bytes inline_limit{};
  Bytes result_limit{};
  Duration grace{};
  bool idempotent = true;  // false: it may be begun once, so nobody but itself may say that it stopped
  bool operator==(const TaskMessage&) const = default;
};

struct Cancel {
  std::string task_id{};
  std::string reason{};
  bool operator==(const Cancel&) const = default;
};
struct Preempt {
  std::string task_id{};
  Duration grace{};
  bool operator==(const Preempt&) const = default;
};
struct PressureHint {
  int level = 0;     // the highest threshold that is crossed: 1 skip_heartbeats … 4 kill
  double ratio = 0;  // used / budget
  bool operator==(const PressureHint&) const = default;
};
struct Ping {
  std::uint64_t seq = 0;
  bool operator==(const Ping&) const = default;
};
struct Shutdown {
  Duration grace{};
  bool operator==(const Shutdown&) const = default;
};
struct BreakerAnswer {
  std::string name{};
  bool allow = true;
  Duration retry_after{};
  std::int64_t call = 0;  // of the question; 0: it had none
  std::string note{};     // why it is allowed, where nothing is counted
  bool operator==(const BreakerAnswer&) const = default;
};

using ToAgent =
    std::variant<Hello, TaskMessage, Cancel, Preempt, PressureHint, Ping, Shutdown, BreakerAnswer>;

// ---- agent → supervisor

struct Ready {
  int protocol = protocol_version;
  std::string name{};
  bool operator==(const Ready&) const = default;
};
struct Progress {
  std::string task_id{};
  double percent = 0;  // clamped to 0…100 by the decoder
  std::string message{};
  bool operator==(const Progress&) const = default;
};
struct Complete {
  std::string task_id{};
  JsonText result{};            // empty: none was given
  std::int64_t file_bytes = 0;  // hosts only: so many bytes of result lie in `result_file`
  Bytes peak{};                 // exec host only: largest rss of the command's own processes, 0 when unknown
  bool operator==(const Complete&) const = default;
};
struct Failed {
  std::string task_id{};
  std::string error{};
  std::string stack{};
  bool retryable = true;
  // Hosts only: how the command, or the call, ended.
  std::optional<FailReason> reason{};
  std::optional<int> exit_code{};
  std::optional<int> signal{};
  std::int64_t file_bytes = 0;
  JsonText result{};
  Bytes peak{};
  bool operator==(const Failed&) const = default;
};
struct Chunk {
  std::string task_id{};
  std::string data{};  // decoded
  bool operator==(const Chunk&) const = default;
};
struct Checkpoint {
  std::string task_id{};
  JsonText state{};
  bool operator==(const Checkpoint&) const = default;
};
struct Preempted {
  std::string task_id{};
  JsonText state{};  // empty: none was given
  bool operator==(const Preempted&) const = default;
};
struct HeapFigures {  // MEMORY
  std::optional<Bytes> heap_used{}, heap_total{}, external{}, array_buffers{};
  bool operator==(const HeapFigures&) const = default;
};
struct Metric {
  std::string name{};
  double value = 0;
  enum class Kind { gauge, counter } kind = Kind::gauge;
  bool operator==(const Metric&) const = default;
};
struct Log {
  std::string level{};  // trace, debug, info, warn, error
  std::string message{};
  bool operator==(const Log&) const = default;
};
struct BreakerRequest {
  std::string name{};
  enum class Op { acquire, success, failure, release } op = Op::acquire;  // release: nothing was learned
  std::int64_t call = 0;  // chosen by the agent, to tell calls of one name apart; 0: none
  bool operator==(const BreakerRequest&) const = default;
};
struct Pong {
  std::uint64_t seq = 0;
  bool operator==(const Pong&) const = default;
};
struct Swept {  // exec host only: processes that outlived their task and were killed
  std::string task_id{};
  int count = 0;
  bool operator==(const Swept&) const = default;
};
/// What a server offers to be called.
struct Tool {
  std::string name{};
  std::string description{};
  bool operator==(const Tool&) const = default;
};
struct Tools {  // MCP host only: all of them, each time; the decoder takes `most` and cuts their texts
  static constexpr std::size_t most = 256, longest_name = 128, longest_description = 512;
  std::vector<Tool> tools{};
  bool operator==(const Tools&) const = default;
};

using FromAgent = std::variant<Ready, Progress, Complete, Failed, Chunk, Checkpoint, Preempted, HeapFigures,
                               Metric, Log, BreakerRequest, Pong, Swept, Tools>;

}  // namespace kurultai
