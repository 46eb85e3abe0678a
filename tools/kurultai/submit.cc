// `submit` and `exec`: commands that make tasks, and follow them when told to.
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

struct SubmitOptions {
  std::string agent;
  std::string payload;  // JSON, @FILE or -
  std::string file;     // instead of it: the payload as it is, of any size; - is stdin
  std::string priority;
  std::string key;
  std::string size_class;
  std::optional<Duration> timeout;  // of the task
  std::optional<int> retries;
  Duration retry_refused{0};  // a submission that is refused for now is tried again for so long
  bool wait = false;
  bool stream = false;  // wait, and show progress and log lines as they come
  bool json = false;
};

struct ExecOptions {
  std::vector<std::string> command;
  std::optional<Bytes> memory;
  std::string priority;
  std::optional<Duration> timeout;
  Duration retry_refused{0};
  bool wait = false;
  bool json = false;
};

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
  if (options.command.empty())
    return complaint(ExitStatus::usage, "no command given; as in `kurultai exec --wait -- ls -l`");
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

void add_submit(Commands& commands) {
  auto& options = commands.keep<SubmitOptions>();
  Command command = commands.add("submit", "hand a task to an agent; prints its id",
                                 "kurultai submit summarise --payload '{\"file\": \"a.txt\"}' --wait\n"
                                 "  kurultai submit summarise @payload.json --priority high");
  command.argument("agent", options.agent, "AGENT", "its name in the configuration");
  command.optional_argument("payload", options.payload, "JSON|@FILE|-", "the same as --payload");
  command.option("--payload", options.payload, "JSON|@FILE|-", "JSON, @FILE, or - for stdin");
  command.option(
      "--file", options.file, "FILE|-",
      "its bytes are the payload, of any size: the agent gets a file, a command its stdin; - for stdin");
  command.priority_option(options.priority);
  command.option("--timeout", options.timeout, "end the task after so long");
  command.option("--retries", options.retries, {0, 1000}, "try it again so often when it fails");
  command.option("--key", options.key, "KEY", "idempotency key: the same key and payload are the same task");
  command.option("--size-class", options.size_class, "WORD",
                 "any word: tasks of one class need about as much memory as each other");
  command.option("--retry-refused", options.retry_refused,
                 "when there is no room, come again as told, for so long");
  command.flag("--wait", options.wait, "wait until it has ended and print its result");
  command.flag("--stream", options.stream, "the same, with progress and log lines as they come");
  command.json_flag(options.json);
  command.asks([&options] { return "submit " + options.agent; },
               [&options](Http& http) { return submit(http, options); });
}

void add_exec(Commands& commands) {
  auto& options = commands.keep<ExecOptions>();
  Command command =
      commands.add("exec", "run a command as a task, if the configuration allows it (exec.allow)",
                   "kurultai exec --memory 256MiB --wait -- sh -c 'du -s /var | sort -n'");
  command.option("--memory", options.memory, "its memory cap");
  command.priority_option(options.priority);
  command.option("--timeout", options.timeout, "end it after so long");
  command.option("--retry-refused", options.retry_refused,
                 "when there is no room, come again as told, for so long");
  command.flag("--wait", options.wait, "wait until it has ended; its output is ours");
  command.json_flag(options.json);
  command.takes_command(options.command, "-- CMD [ARG...]", to_int(ExitStatus::usage));
  command.asks("exec", [&options](Http& http) { return exec(http, options); });
}

}  // namespace

void add_submitting(Commands& commands) {
  add_submit(commands);
  add_exec(commands);
}

}  // namespace kurultai
