// Commands that make, follow and end tasks.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "protocol/json_text.h"
#include "protocol/utf8.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/follow.h"
#include "tools/kurultai/payload.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/task_view.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;

/// The fields around a payload that stays as the user wrote it.
std::string with_payload(const json& fields, const std::string& payload) {
  std::string out = to_text(fields);
  if (!payload.empty()) out.insert(out.size() - 1, ",\"payload\":" + payload);
  return out;
}

void print_line(const std::string& text) { std::printf("%s\n", text.c_str()); }

Answer<ExitStatus> print_result(Http& http, const TaskView& task) {
  if (!task.has_result) return ExitStatus::done;
  std::fflush(stdout);
  const auto copied = copy_to(http, task_path(task.id) + "/result", STDOUT_FILENO);
  if (!copied) return std::unexpected(copied.error());
  if (*copied > 0 && isatty(STDOUT_FILENO) != 0) std::printf("\n");
  return ExitStatus::done;
}

/// What a waiting command says at the end, and its status.
Answer<ExitStatus> report(Http& http, const std::string& body, bool as_json) {
  const auto object = parse_answer(body);
  if (!object) return std::unexpected(object.error());
  const TaskView task = decode_task(*object);
  if (as_json) print_line(body);
  if (!as_json) {
    if (const auto printed = print_result(http, task); !printed) return printed;
  }
  if (task.state == TaskState::completed) return ExitStatus::done;
  return complaint(
      task.reason == "timeout" ? ExitStatus::timed_out : ExitStatus::task_failed,
      "task " + task.id + " " + task.state_text + ": " + describe_failure(task) +
          (task.log_bytes.value_or(0) > 0 ? "; `kurultai logs " + task.id + "` has what it wrote" : ""));
}

/// One that is refused for now is tried again when the supervisor says, for as long as `patience`.
Answer<std::string> persist(Duration patience, const std::function<Answer<std::string>()>& ask) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + patience;
  while (true) {
    auto answer = ask();
    if (answer || answer.error().retry_after.count() == 0) return answer;
    if (Clock::now() + answer.error().retry_after > until) return answer;
    std::this_thread::sleep_for(answer.error().retry_after);
  }
}

/// What the supervisor said to the submission.
Answer<ExitStatus> submit_only(const Answer<std::string>& answer, bool as_json) {
  if (!answer) return std::unexpected(answer.error());
  const auto object = parse_answer(*answer);
  if (!object) return std::unexpected(object.error());
  print_line(as_json ? *answer : printable(text_field(*object, "taskId")));
  return ExitStatus::done;
}

/// Not with ?wait: then Ctrl-C could not name the task that goes on.
Answer<ExitStatus> follow_accepted(Http& http, const Answer<std::string>& accepted,
                                   const FollowOptions& follow, bool as_json) {
  if (!accepted) return std::unexpected(accepted.error());
  const auto object = parse_answer(*accepted);
  if (!object) return std::unexpected(object.error());
  const auto finished = follow_task(http, text_field(*object, "taskId"), follow);
  if (!finished) return std::unexpected(finished.error());
  return report(http, *finished, as_json);
}

/// The file's bytes are the payload, and the fields stand in the query.
Answer<std::string> post_file(Http& http, const json& fields, const std::string& path) {
  const int file = path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char first = 0;  // a directory can be opened and not be read
  const bool readable = file >= 0 && (::pread(file, &first, 1, 0) >= 0 || errno == ESPIPE);
  if (!readable) {
    const int code = errno;
    ::close(file);
    return complaint(ExitStatus::usage, "payload " + path + ": " + std::strerror(code));
  }
  Request request;
  request.method = "POST";
  request.path = "/v1/tasks";
  for (const auto& [name, value] : fields.items()) {
    request.path += request.path.contains('?') ? '&' : '?';
    request.path += name + "=" + url_escaped(value.is_string() ? value.get<std::string>() : value.dump());
  }
  request.upload = file;
  request.timeout = Duration(0);
  auto answer = http.request(std::move(request));
  ::close(file);
  return body_of(std::move(answer));
}

}  // namespace

Answer<ExitStatus> submit(Http& http, const SubmitOptions& options) {
  if (!options.file.empty() && !options.payload.empty())
    return complaint(ExitStatus::usage, "--payload and --file exclude each other");
  const auto payload = read_payload(options.payload);
  if (!payload) return std::unexpected(payload.error());
  json fields = {{"agent", options.agent}};
  if (!options.priority.empty()) fields["priority"] = options.priority;
  if (!options.key.empty()) fields["idempotencyKey"] = options.key;
  if (!options.size_class.empty()) fields["sizeClass"] = options.size_class;
  if (options.timeout) fields["timeout"] = to_string(*options.timeout);
  if (options.retries) fields["retries"] = *options.retries;
  if (options.file == "-" && options.retry_refused.count() > 0)
    return complaint(ExitStatus::usage, "--retry-refused: stdin can be sent once only");
  const auto accepted = persist(options.retry_refused, [&] {
    return options.file.empty() ? post(http, "/v1/tasks", with_payload(fields, *payload))
                                : post_file(http, fields, options.file);
  });
  if (!options.wait && !options.stream) return submit_only(accepted, options.json);
  return follow_accepted(http, accepted, {options.stream, options.stream}, options.json);
}

Answer<ExitStatus> exec(Http& http, const ExecOptions& options) {
  for (const auto& word : options.command) {
    // JSON has no other text, and a command must not be changed on its way.
    if (!is_utf8(word)) return complaint(ExitStatus::usage, "argument '" + word + "' is not UTF-8");
  }
  json payload = {{"command", options.command}};
  if (options.memory) payload["memoryLimitBytes"] = options.memory->count;
  std::error_code unknown;
  if (const auto here = std::filesystem::current_path(unknown); !unknown) payload["cwd"] = here.string();
  json fields = {{"agent", "exec"}};
  if (!options.priority.empty()) fields["priority"] = options.priority;
  if (options.timeout) fields["timeout"] = to_string(*options.timeout);
  const std::string body = with_payload(fields, to_text(payload));
  const auto accepted = persist(options.retry_refused, [&] { return post(http, "/v1/tasks", body); });
  if (!options.wait) return submit_only(accepted, options.json);
  return follow_accepted(http, accepted, {false, true}, options.json);
}

Answer<ExitStatus> cancel(Http& http, const std::vector<std::string>& ids, bool json) {
  ExitStatus status = ExitStatus::done;
  for (const auto& id : ids) {
    Request request;
    request.method = "DELETE";
    request.path = task_path(id);
    const auto body = body_of(http.request(std::move(request)));
    if (body) {
      print_line(json ? *body : printable(id));
      continue;
    }
    complain("cancel " + id, body.error());
    status = body.error().status;
    if (status == ExitStatus::no_supervisor) break;
  }
  return status;
}

namespace {

Answer<ExitStatus> result_to_stdout(Http& http, const std::string& path, bool follow) {
  const auto copied = copy_to(http, path, STDOUT_FILENO, follow);
  if (!copied) return std::unexpected(copied.error());
  if (*copied > 0 && isatty(STDOUT_FILENO) != 0) write_all(STDOUT_FILENO, "\n");
  return ExitStatus::done;
}

Answer<ExitStatus> result_to_file(Http& http, const std::string& path, const std::string& file, bool follow) {
  // Under another name until it is whole, so that a refusal or a lost connection leaves the old file alone;
  // devices and pipes are written as they are.
  std::error_code ignored;
  const bool special =
      std::filesystem::exists(file, ignored) && !std::filesystem::is_regular_file(file, ignored);
  const std::string name = special ? file : file + ".part";
  const int fd = open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return complaint(ExitStatus::usage, name + ": " + std::strerror(errno));
  const auto copied = copy_to(http, path, fd, follow);
  const bool whole = close(fd) == 0 && copied && (special || std::rename(name.c_str(), file.c_str()) == 0);
  if (whole) return ExitStatus::done;
  const std::string why = std::strerror(errno);
  if (!special) unlink(name.c_str());
  if (!copied) return std::unexpected(copied.error());
  return complaint(ExitStatus::usage, file + ": " + why);
}

}  // namespace

Answer<ExitStatus> result(Http& http, const std::string& id, const std::string& output_file, bool follow) {
  const std::string path = task_path(id) + (follow ? "/result?follow=1" : "/result");
  if (output_file.empty() || output_file == "-") return result_to_stdout(http, path, follow);
  return result_to_file(http, path, output_file, follow);
}

Answer<ExitStatus> logs(Http& http, const std::string& id, bool follow) {
  const auto copied =
      copy_to(http, task_path(id) + (follow ? "/logs?follow=1" : "/logs"), STDOUT_FILENO, follow);
  if (!copied) return std::unexpected(copied.error());
  return ExitStatus::done;
}

}  // namespace kurultai
