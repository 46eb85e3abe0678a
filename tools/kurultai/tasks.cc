// Commands about one task: its result, its log, its end.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "tools/kurultai/commands.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

Answer<ExitStatus> cancel(Http& http, const std::vector<std::string>& ids, bool json) {
  ExitStatus status = ExitStatus::done;
  for (const auto& id : ids) {
    Request request;
    request.method = "DELETE";
    request.path = task_path(id);
    const auto body = body_of(http.request(std::move(request)));
    if (body) {
      std::printf("%s\n", (json ? *body : printable(id)).c_str());
      continue;
    }
    complain("cancel " + id, body.error());
    status = body.error().status;
    if (status == ExitStatus::no_supervisor) break;
  }
  return status;
}

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

struct ResultOptions {
  std::string id, file;
  bool follow = false;
};

void add_result(Commands& commands) {
  auto& options = commands.keep<ResultOptions>();
  Command command = commands.add("result", "a task's result", "kurultai result 8f3a -o summary.txt");
  command.argument("id", options.id, "ID", "the task's id");
  command.option("-o,--output", options.file, "FILE", "write it there");
  command.flag("-f,--follow", options.follow, "of a task that is still running, as it comes");
  command.asks([&options] { return "result " + options.id; },
               [&options](Http& http) { return result(http, options.id, options.file, options.follow); });
}

struct LogsOptions {
  std::string id;
  bool follow = false;
};

void add_logs(Commands& commands) {
  auto& options = commands.keep<LogsOptions>();
  Command command = commands.add("logs", "a task's stderr and log lines", "kurultai logs 8f3a -f");
  command.argument("id", options.id, "ID", "the task's id");
  command.flag("-f,--follow", options.follow, "go on until the task has ended");
  command.asks([&options] { return "logs " + options.id; },
               [&options](Http& http) { return logs(http, options.id, options.follow); });
}

struct CancelOptions {
  std::vector<std::string> ids;
  bool json = false;
};

void add_cancel(Commands& commands) {
  auto& options = commands.keep<CancelOptions>();
  Command command = commands.add("cancel", "end tasks", "kurultai cancel 8f3a 9c01");
  command.arguments("id", options.ids, "ID", "ids of tasks");
  command.json_flag(options.json);
  command.asks("cancel", [&options](Http& http) { return cancel(http, options.ids, options.json); });
}

}  // namespace

void add_task_commands(Commands& commands) {
  add_result(commands);
  add_logs(commands);
  add_cancel(commands);
}

}  // namespace kurultai
