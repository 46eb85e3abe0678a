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

FromAgent by_its_exit(int status, Output& output) {
  auto delivery = output.deliver();
  if (!delivery) return no_result(delivery.error().message);
  if (succeeded(status)) return Complete{.result = delivery->result, .file_bytes = delivery->file_bytes};
  Failed failed = how_it_ended(status);
  failed.result = delivery->result;
  failed.file_bytes = delivery->file_bytes;
  return failed;
}

std::optional<FromAgent> judge(const Ended& ended, Output& output) {
  if (ended.stop == Stop::cancel) return cancelled(ended.cancel_reason);
  if (!ended.output_trouble.empty()) return no_result(ended.output_trouble);
  if (ended.stop == Stop::preempt && !succeeded(ended.status)) return Preempted{};
  if (ended.stop == Stop::shutdown && !succeeded(ended.status)) return std::nullopt;
  return by_its_exit(ended.status, output);
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
