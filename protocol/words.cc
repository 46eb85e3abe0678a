#include "protocol/words.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace kurultai {
namespace {

// In the order of the enumerators.
constexpr std::array<std::string_view, priority_count> priorities = {"critical", "high", "normal", "low",
                                                                     "heartbeat"};
constexpr std::array<std::string_view, 7> task_states = {"queued", "running",   "suspended", "completed",
                                                         "failed", "cancelled", "evicted"};
constexpr std::array<std::string_view, 14> fail_reasons = {
    "agent_error",  "exit_code", "signal",         "memory_cap",        "memory_budget",
    "timeout",      "stalled",   "protocol_error", "worker_lost",       "spawn_failed",
    "circuit_open", "cancelled", "evicted",        "supervisor_restart"};
constexpr std::array<std::string_view, 3> guarantees = {"cgroup2", "cgroup1", "rlimit"};

static_assert(task_states.size() == std::to_underlying(TaskState::evicted) + 1);
static_assert(fail_reasons.size() == std::to_underlying(FailReason::supervisor_restart) + 1);
static_assert(guarantees.size() == std::to_underlying(Guarantee::rlimit) + 1);

constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

template <typename Enum, std::size_t n>
std::optional<Enum> parse_word(const std::array<std::string_view, n>& words, std::string_view text) {
  const auto matches = [text](std::string_view word) {
    return std::ranges::equal(word, text, {}, {}, to_lower);
  };
  const auto found = std::ranges::find_if(words, matches);
  if (found == words.end()) return std::nullopt;
  return static_cast<Enum>(found - words.begin());
}

}  // namespace

std::string_view to_string(Priority priority) { return priorities[std::to_underlying(priority)]; }
std::string_view to_string(TaskState state) { return task_states[std::to_underlying(state)]; }
std::string_view to_string(FailReason reason) { return fail_reasons[std::to_underlying(reason)]; }
std::string_view to_string(Guarantee guarantee) { return guarantees[std::to_underlying(guarantee)]; }

std::optional<Priority> parse_priority(std::string_view text) {
  if (text.size() == 1 && text[0] >= '0' && text[0] < static_cast<char>('0' + priority_count)) {
    return all_priorities[static_cast<std::size_t>(text[0] - '0')];
  }
  return parse_word<Priority>(priorities, text);
}

std::optional<TaskState> parse_task_state(std::string_view text) {
  return parse_word<TaskState>(task_states, text);
}

std::optional<FailReason> parse_fail_reason(std::string_view text) {
  return parse_word<FailReason>(fail_reasons, text);
}

std::optional<Guarantee> parse_guarantee(std::string_view text) {
  return parse_word<Guarantee>(guarantees, text);
}

}  // namespace kurultai
