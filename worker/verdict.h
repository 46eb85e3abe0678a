// What is said of a command that has ended.
#pragma once

#include <optional>
#include <string>

#include "protocol/messages.h"
#include "protocol/output_rules.h"
#include "worker/output.h"

namespace kurultai {

/// Who asked a command to end; the later one overrides. None: it ended by itself, or its result could not be
/// taken.
enum class Stop { none, preempt, cancel, shutdown };

/// What its stdout was: the result as it is, lines of which its last word counts, or log.
enum class Printed { result, words, log };

struct Ended {
  std::string task_id;
  int status = 0;  // of wait(2)
  Bytes peak{};
  Stop stop = Stop::none;
  std::string cancel_reason{};
  std::string output_trouble{};  // why its stdout could not be taken; empty when it could
  Printed printed = Printed::result;
  std::optional<OutputWord> word{};  // the last; never progress
  std::string note{};                // what its words lack
};

/// The answer for the supervisor. None for a command that a shutdown cut off: it was not the task's fault,
/// and what follows for the task is known to whoever ordered the shutdown. The result file is kept only if
/// the answer counts it.
std::optional<FromAgent> verdict(const Ended& ended, Output& output);

/// The command did not run. Retryable when the machine is short of something (the Error's errno), not when
/// the command cannot work.
Failed not_started(std::string task_id, const Error& why);

}  // namespace kurultai
