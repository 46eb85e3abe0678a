// What becomes of a task when its run ends: the delivery rules of the contract in one pure function.
#pragma once

#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

/// Why the supervisor had asked the run to stop, if it had.
enum class Intent : unsigned char { none, cancel, preempt, budget, timeout, stall, bystander };

/// How the run ended.
enum class Ending : unsigned char {
  completed,
  agent_failed,
  preempted,
  exit_code,
  signal,
  memory_cap,
  protocol_error,
  worker_lost,
  spawn_failed,
};

struct RunPolicy {
  bool idempotent = true;
  bool retryable = true;  // what the agent said with FAILED
  int attempt = 1;
  int retries = 0;
  int preemptions = 0;
  int max_preemptions = 10;
  bool cap_grows =
      false;  // a death by the task's own cap is tried again with a larger one, whatever `retries`
  bool has_larger_cap = false;  // there is one
};

struct Verdict {
  /// quarantine: it fails, and would do so again with all the memory it may have.
  enum class Kind : unsigned char { complete, fail, cancel, send_back, retry, retry_larger, quarantine } kind;
  FailReason reason = FailReason::agent_error;  // for fail and retry; for send_back: why it lost its worker
};

/// A cancelled task is cancelled however it ends; one that ran out of time failed even if its answer came
/// late. A death that was not the task's fault (preempt, budget, bystander: a worker lost through another
/// task) sends it back, attempt unchanged, at most `max_preemptions` times, then it fails with memory_budget.
/// An answer that came before the end counts. Tasks that are not idempotent never run twice: they are sent
/// back only by PREEMPTED.
Verdict judge(Intent intent, Ending ending, const RunPolicy& policy);

/// How long a task that was sent back for the `preemptions`th time stays in the queue, while others run: not
/// at all the first time, then 100 ms and each time twice as long, at most 10 s. Else one that always grows
/// into the same pressure would use all its preemptions up in a moment.
Duration pause_after_preemption(int preemptions);

}  // namespace kurultai
