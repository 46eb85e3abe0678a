#include "worker/verdict.h"

#include <string.h>
#include <sys/wait.h>

#include <cerrno>
#include <utility>

namespace kurultai {
namespace {

std::string signal_name(int signal) {
  const char* const name = ::sigabbrev_np(signal);
  return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

bool succeeded(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }

Failed how_it_ended(int status) {
  Failed failed;
  if (WIFSIGNALED(status)) {
    failed.error = "killed by " + signal_name(WTERMSIG(status));
    failed.reason = FailReason::signal;
    failed.signal = WTERMSIG(status);
  } else {
    failed.error = "exit status " + std::to_string(WEXITSTATUS(status));
    failed.reason = FailReason::exit_code;
    failed.exit_code = WEXITSTATUS(status);
  }
  return failed;
}

Failed cancelled(const std::string& reason) {
  return Failed{.error = reason.empty() ? "cancelled" : "cancelled: " + reason,
                .retryable = false,
                .reason = FailReason::cancelled};
}

Failed no_result(const std::string& trouble) {
  return Failed{.error = trouble, .retryable = false, .reason = FailReason::agent_error};
}

bool says(const Ended& ended, OutputRule::Says what) { return ended.word && ended.word->says == what; }

Result<Output::Delivery> deliver(const Ended& ended, Output& output) {
  if (ended.printed == Printed::result) return output.deliver();
  if (!says(ended, OutputRule::Says::result)) return Output::Delivery{};
  if (!ended.word->is_text) return output.deliver_json(ended.word->text);
  if (auto taken = output.append(ended.word->text); !taken) return std::unexpected(taken.error());
  return output.deliver();
}

/// Programs that talk to a model end with 0 when it did not answer, too.
bool lacks_answer(const Ended& ended) {
  return ended.printed == Printed::words && !says(ended, OutputRule::Says::result);
}

Failed without_answer(const Ended& ended) {
  const bool told = says(ended, OutputRule::Says::error);
  return Failed{.error = told ? ended.word->text : "ended without an answer" + ended.note,
                .reason = FailReason::agent_error};
}

FromAgent by_its_exit(const Ended& ended, Output& output) {
  auto delivery = deliver(ended, output);
  if (!delivery) return no_result(delivery.error().message);
  if (succeeded(ended.status)) {
    if (lacks_answer(ended)) return without_answer(ended);
    return Complete{.result = delivery->result, .file_bytes = delivery->file_bytes};
  }
  Failed failed = how_it_ended(ended.status);
  if (says(ended, OutputRule::Says::error)) failed.error += ": " + ended.word->text;
  failed.result = delivery->result;
  failed.file_bytes = delivery->file_bytes;
  return failed;
}

std::optional<FromAgent> judge(const Ended& ended, Output& output) {
  if (ended.stop == Stop::cancel) return cancelled(ended.cancel_reason);
  if (!ended.output_trouble.empty()) return no_result(ended.output_trouble);
  const bool is_done = succeeded(ended.status) && !lacks_answer(ended);
  if (ended.stop == Stop::preempt && !is_done) return Preempted{};
  if (ended.stop == Stop::shutdown && !is_done) return std::nullopt;
  return by_its_exit(ended, output);
}

template <typename Message>
void sign(Message& message, const Ended& ended) {
  if constexpr (requires { message.task_id; }) message.task_id = ended.task_id;
  if constexpr (requires { message.peak; }) message.peak = ended.peak;
}

}  // namespace

std::optional<FromAgent> verdict(const Ended& ended, Output& output) {
  auto answer = judge(ended, output);
  if (answer) std::visit([&](auto& message) { sign(message, ended); }, *answer);
  return answer;
}

Failed not_started(std::string task_id, const Error& why) {
  const bool short_of_something =
      why.code == EAGAIN || why.code == ENOMEM || why.code == EMFILE || why.code == ENFILE;
  return Failed{.task_id = std::move(task_id),
                .error = why.message,
                .retryable = short_of_something,
                .reason = FailReason::spawn_failed};
}

}  // namespace kurultai
