// The closed vocabularies of the contract: priorities, task states, reasons. Text only at the borders.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kurultai {

enum class Priority : std::uint8_t { critical, high, normal, low, heartbeat };  // most important first
inline constexpr std::size_t priority_count = 5;
inline constexpr std::array<Priority, priority_count> all_priorities = {
    Priority::critical, Priority::high, Priority::normal, Priority::low, Priority::heartbeat};

enum class TaskState : std::uint8_t { queued, running, suspended, completed, failed, cancelled, evicted };

/// Whether nothing more can happen to a task in this state.
constexpr bool is_final(TaskState state) { return state >= TaskState::completed; }

enum class FailReason : std::uint8_t {
  agent_error,
  exit_code,
  signal,
  memory_cap,
  memory_budget,
  timeout,
  stalled,
  protocol_error,
  worker_lost,
  spawn_failed,
  circuit_open,
  cancelled,
  evicted,
  supervisor_restart
};

/// What the machine lets Kurultai promise about memory, the most first; see README, "Guarantee levels".
enum class Guarantee : std::uint8_t { cgroup2, cgroup1, rlimit };

std::string_view to_string(Priority priority);
std::string_view to_string(TaskState state);
std::string_view to_string(FailReason reason);
std::string_view to_string(Guarantee guarantee);

/// Accepts the words in any case, and for priorities the levels 0 to 4 too.
std::optional<Priority> parse_priority(std::string_view text);
std::optional<TaskState> parse_task_state(std::string_view text);
std::optional<FailReason> parse_fail_reason(std::string_view text);
std::optional<Guarantee> parse_guarantee(std::string_view text);

}  // namespace kurultai
