#include "governance/verdict.h"

#include <doctest/doctest.h>

#include <vector>

namespace kurultai::verdict_test {
using Kind = Verdict::Kind;

namespace {

const std::vector<Ending> endings = {Ending::completed,      Ending::agent_failed, Ending::preempted,
                                     Ending::exit_code,      Ending::signal,       Ending::memory_cap,
                                     Ending::protocol_error, Ending::worker_lost,  Ending::spawn_failed};

}  // namespace

TEST_CASE("a cancelled task is cancelled and one out of time failed, however they end") {
  for (const Ending ending : endings) {
    CHECK(judge(Intent::cancel, ending, {}).kind == Kind::cancel);
    CHECK(judge(Intent::timeout, ending, {}).kind == Kind::fail);
    CHECK(judge(Intent::timeout, ending, {}).reason == FailReason::timeout);
    CHECK(judge(Intent::stall, ending, {}).reason == FailReason::stalled);
  }
}

TEST_CASE("a task that lost its worker through no fault of its own goes back, whatever it died of") {
  for (const Intent intent : {Intent::preempt, Intent::budget, Intent::bystander}) {
    for (const Ending ending : {Ending::agent_failed, Ending::preempted, Ending::exit_code, Ending::signal,
                                Ending::protocol_error, Ending::worker_lost}) {
      CHECK(judge(intent, ending, {}).kind == Kind::send_back);
    }
    CHECK(judge(intent, Ending::completed, {}).kind == Kind::complete);
  }
}

TEST_CASE("a task over its own cap failed by itself, also while it was being preempted") {
  CHECK(judge(Intent::preempt, Ending::memory_cap, {}).kind == Kind::fail);
  CHECK(judge(Intent::budget, Ending::memory_cap, {}).reason == FailReason::memory_cap);
}

TEST_CASE("a death by its own cap is tried again while the cap grows, whatever the retries") {
  RunPolicy policy;
  policy.cap_grows = true;
  for (const Intent intent : {Intent::none, Intent::preempt, Intent::budget}) {
    for (const bool more : {true, false}) {
      policy.has_larger_cap = more;
      const Verdict verdict = judge(intent, Ending::memory_cap, policy);
      CHECK(verdict.kind == (more ? Kind::retry_larger : Kind::quarantine));
      CHECK(verdict.reason == FailReason::memory_cap);
    }
  }
  policy.has_larger_cap = true;
  CHECK(judge(Intent::cancel, Ending::memory_cap, policy).kind == Kind::cancel);
  CHECK(judge(Intent::timeout, Ending::memory_cap, policy).reason == FailReason::timeout);
  CHECK(judge(Intent::none, Ending::agent_failed, policy).kind == Kind::fail);
  policy.idempotent = false;
  CHECK(judge(Intent::none, Ending::memory_cap, policy).kind == Kind::fail);
  policy = {};
  policy.retries = 1;
  policy.has_larger_cap = true;
  CHECK(judge(Intent::none, Ending::memory_cap, policy).kind == Kind::retry);
}

TEST_CASE("after max_preemptions a task fails with memory_budget") {
  RunPolicy policy;
  policy.max_preemptions = 3;
  policy.preemptions = 2;
  CHECK(judge(Intent::preempt, Ending::worker_lost, policy).kind == Kind::send_back);
  policy.preemptions = 3;
  const Verdict verdict = judge(Intent::preempt, Ending::worker_lost, policy);
  CHECK(verdict.kind == Kind::fail);
  CHECK(verdict.reason == FailReason::memory_budget);
}

TEST_CASE("a task that is not idempotent goes back only by its own PREEMPTED, and is never retried") {
  RunPolicy policy;
  policy.idempotent = false;
  policy.retries = 5;
  CHECK(judge(Intent::preempt, Ending::preempted, policy).kind == Kind::send_back);
  CHECK(judge(Intent::none, Ending::preempted, policy).kind == Kind::send_back);
  CHECK(judge(Intent::budget, Ending::worker_lost, policy).kind == Kind::fail);
  CHECK(judge(Intent::budget, Ending::worker_lost, policy).reason == FailReason::memory_budget);
  CHECK(judge(Intent::bystander, Ending::worker_lost, policy).reason == FailReason::worker_lost);
  CHECK(judge(Intent::none, Ending::exit_code, policy).kind == Kind::fail);
}

TEST_CASE("retries are counted by attempts and refused by the agent's word") {
  RunPolicy policy;
  policy.retries = 2;
  for (const auto& [attempt, kind] : {std::pair{1, Kind::retry}, {2, Kind::retry}, {3, Kind::fail}}) {
    policy.attempt = attempt;
    CHECK(judge(Intent::none, Ending::exit_code, policy).kind == kind);
    CHECK(judge(Intent::timeout, Ending::worker_lost, policy).kind == kind);
  }
  policy.attempt = 1;
  policy.retryable = false;
  CHECK(judge(Intent::none, Ending::agent_failed, policy).kind == Kind::fail);
}

TEST_CASE("who is sent back again and again comes back later and later") {
  const std::vector<std::pair<int, Duration>> table = {
      {0, Duration{0}},    {1, Duration{0}},      {2, Duration{100}},     {3, Duration{200}},
      {8, Duration{6400}}, {9, Duration{10'000}}, {100, Duration{10'000}}};
  for (const auto& [preemptions, pause] : table) CHECK(pause_after_preemption(preemptions) == pause);
}

TEST_CASE("without an intent the ending names the reason") {
  const std::vector<std::pair<Ending, FailReason>> table = {
      {Ending::agent_failed, FailReason::agent_error},
      {Ending::exit_code, FailReason::exit_code},
      {Ending::signal, FailReason::signal},
      {Ending::memory_cap, FailReason::memory_cap},
      {Ending::protocol_error, FailReason::protocol_error},
      {Ending::worker_lost, FailReason::worker_lost},
      {Ending::spawn_failed, FailReason::spawn_failed}};
  for (const auto& [ending, reason] : table) {
    CHECK(judge(Intent::none, ending, {}).kind == Kind::fail);
    CHECK(judge(Intent::none, ending, {}).reason == reason);
  }
  CHECK(judge(Intent::none, Ending::completed, {}).kind == Kind::complete);
}

}  // namespace kurultai::verdict_test
