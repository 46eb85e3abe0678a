#include "governance/verdict.h"

#include <algorithm>

namespace kurultai {

namespace {

FailReason reason_of(Ending ending) {
  switch (ending) {
    case Ending::completed:
    case Ending::agent_failed:
    case Ending::preempted:
      return FailReason::agent_error;
    case Ending::exit_code:
      return FailReason::exit_code;
    case Ending::signal:
      return FailReason::signal;
    case Ending::memory_cap:
      return FailReason::memory_cap;
    case Ending::protocol_error:
      return FailReason::protocol_error;
    case Ending::worker_lost:
      return FailReason::worker_lost;
    case Ending::spawn_failed:
      return FailReason::spawn_failed;
  }
  return FailReason::worker_lost;
}

Verdict fail_or_retry(FailReason reason, const RunPolicy& policy) {
  const bool again = policy.idempotent && policy.retryable && policy.attempt <= policy.retries;
  return {again ? Verdict::Kind::retry : Verdict::Kind::fail, reason};
}

Verdict after_its_cap(const RunPolicy& policy) {
  if (!policy.cap_grows || !policy.idempotent) return fail_or_retry(FailReason::memory_cap, policy);
  return {policy.has_larger_cap ? Verdict::Kind::retry_larger : Verdict::Kind::quarantine,
          FailReason::memory_cap};
}

Verdict send_back(FailReason reason, Ending ending, const RunPolicy& policy) {
  const bool may_run_again = policy.idempotent || ending == Ending::preempted;
  if (!may_run_again || policy.preemptions >= policy.max_preemptions) {
    return {Verdict::Kind::fail, reason == FailReason::worker_lost ? reason : FailReason::memory_budget};
  }
  return {Verdict::Kind::send_back, reason};
}

}  // namespace

Duration pause_after_preemption(int preemptions) {
  static constexpr Duration first{100};
  static constexpr Duration longest{10'000};
  if (preemptions < 2) return Duration{0};
  const int doublings = std::min(preemptions - 2, 7);  // 12.8 s
  return std::min(first * (1 << doublings), longest);
}

Verdict judge(Intent intent, Ending ending, const RunPolicy& policy) {
  switch (intent) {
    case Intent::cancel:
      return {Verdict::Kind::cancel, FailReason::cancelled};
    case Intent::timeout:
      return fail_or_retry(FailReason::timeout, policy);
    case Intent::stall:
      return fail_or_retry(FailReason::stalled, policy);
    case Intent::preempt:
    case Intent::budget:
      if (ending == Ending::completed) return {Verdict::Kind::complete};
      if (ending == Ending::memory_cap) return after_its_cap(policy);
      return send_back(FailReason::memory_budget, ending, policy);
    case Intent::bystander:
      if (ending == Ending::completed) return {Verdict::Kind::complete};
      return send_back(FailReason::worker_lost, ending, policy);
    case Intent::none:
      break;
  }
  if (ending == Ending::completed) return {Verdict::Kind::complete};
  if (ending == Ending::preempted) return send_back(FailReason::agent_error, ending, policy);
  if (ending == Ending::memory_cap) return after_its_cap(policy);
  return fail_or_retry(reason_of(ending), policy);
}

}  // namespace kurultai
