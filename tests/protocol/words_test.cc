#include "protocol/words.h"

#include <doctest/doctest.h>

#include <string>

namespace kurultai::words_test {

TEST_CASE("every priority reads back from its word, its level and its word in capitals") {
  const char* const words[] = {"critical", "high", "normal", "low", "heartbeat"};
  const char* const shouted[] = {"CRITICAL", "High", "nORMAL", "LOW", "HeartBeat"};
  for (std::size_t i = 0; i < priority_count; ++i) {
    CHECK(to_string(all_priorities[i]) == words[i]);
    CHECK(parse_priority(words[i]) == all_priorities[i]);
    CHECK(parse_priority(shouted[i]) == all_priorities[i]);
    CHECK(parse_priority(std::to_string(i)) == all_priorities[i]);
  }
}

TEST_CASE("what is no priority is none") {
  for (const char* text : {"", "5", "-1", "00", "urgent", "norma", "normall", " normal", "normal\n"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_priority(text).has_value());
  }
}

TEST_CASE("every task state reads back from its word, and four of them are final") {
  const char* const words[] = {"queued", "running",   "suspended", "completed",
                               "failed", "cancelled", "evicted"};
  int finals = 0;
  for (int i = 0; i < 7; ++i) {
    const auto state = static_cast<TaskState>(i);
    CHECK(to_string(state) == words[i]);
    CHECK(parse_task_state(words[i]) == state);
    finals += is_final(state) ? 1 : 0;
  }
  CHECK(finals == 4);
  CHECK_FALSE(is_final(TaskState::suspended));
  CHECK(parse_task_state("Running") == TaskState::running);
  CHECK_FALSE(parse_task_state("done").has_value());
}

TEST_CASE("every reason of failure reads back from its word") {
  const char* const words[] = {"agent_error",   "exit_code",         "signal",       "memory_cap",
                               "memory_budget", "timeout",           "stalled",      "protocol_error",
                               "worker_lost",   "spawn_failed",      "circuit_open", "cancelled",
                               "evicted",       "supervisor_restart"};
  for (int i = 0; i < 14; ++i) {
    CHECK(to_string(static_cast<FailReason>(i)) == words[i]);
    CHECK(parse_fail_reason(words[i]) == static_cast<FailReason>(i));
  }
  CHECK_FALSE(parse_fail_reason("").has_value());
}

TEST_CASE("the guarantee levels have the words of the contract") {
  CHECK(to_string(Guarantee::cgroup2) == "cgroup2");
  CHECK(to_string(Guarantee::cgroup1) == "cgroup1");
  CHECK(to_string(Guarantee::rlimit) == "rlimit");
}

}  // namespace kurultai::words_test
