#include "tools/kurultai/run/printer.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_text.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

/// A string is what the command wrote, byte for byte; other values are shown as JSON.
std::string result_text(const nlohmann::json& result) {
  if (result.is_null()) return "";
  return result.is_string() ? result.get<std::string>() : to_text(result);
}

}  // namespace

void Printer::collect(Batch::Next next, bool hold_back, std::function<void(bool)> done) {
  current_ = std::move(next);
  hold_back_ = hold_back;
  done_ = std::move(done);
  if (hold_back) failures_[current_.sequence];
  std::error_code ignored;  // opening the files says what is wrong
  if (!results_.empty()) {
    std::filesystem::create_directories(path_of(current_.sequence, ""), ignored);
    stdout_file_ = open_file("stdout");
    stderr_file_ = open_file("stderr");
  } else if (hold_back) {
    std::filesystem::create_directory(held_, ignored);
  }
  Request request;
  request.path = task_path(current_.id);
  http_.start(std::move(request), [this](Answer<Response> response) { take_task(std::move(response)); });
}

void Printer::take_task(Answer<Response> response) {
  const auto body = body_of(std::move(response));
  if (!body) return finish(&body.error());
  const auto object = parse_answer(*body);
  if (!object) return finish(&object.error());
  task_ = decode_task(*object);
  if (!results_.empty()) write_file("task.json", *body + "\n");
  if (task_.result_bytes) return fetch_result();
  write_stdout(result_text(field(*object, "result")));
  fetch_logs();
}

void Printer::fetch_result() {
  Request request;
  request.path = task_path(current_.id) + "/result";
  request.timeout = Duration(0);
  http_.start(
      std::move(request),
      [this](Answer<Response> response) {
        if (!response) return finish(&response.error());
        if (is_good(*response)) return fetch_logs();
        const Complaint refused = refusal(response->status, response->body);
        finish(&refused);
      },
      [this](std::string_view bytes) { return write_stdout(bytes); });
}

void Printer::fetch_logs() {
  if (task_.log_bytes == 0 || !fault_.empty()) return finish(nullptr);
  Request request;
  request.path = task_path(current_.id) + "/logs";
  http_.start(
      std::move(request), [this](const Answer<Response>&) { finish(nullptr); },
      [this](std::string_view bytes) { return write_stderr(bytes); });
}

void Printer::finish(const Complaint* lost) {
  close_files();
  const bool completed = lost == nullptr && task_.state == TaskState::completed;
  if (!completed) {
    const std::string line = "kurultai: '" + current_.label + "'" +
                             (lost != nullptr ? ": its output is lost: " + printable(lost->text)
                                              : " failed: " + printable(describe_failure(task_))) +
                             "\n";
    if (hold_back_) {
      failures_[current_.sequence] = line;
    } else {
      tell_failure(line);
    }
  }
  task_ = {};
  std::exchange(done_, nullptr)(completed);
}

void Printer::tell_failure(const std::string& line) {
  display_.begin_line();
  write_all(STDERR_FILENO, line);  // a closed stderr is no reason to stop
}

void Printer::print_held(Batch::Sequence sequence) {
  const auto failure = failures_.extract(sequence);
  if (failure.empty()) return;
  for (const auto& [name, to] : {std::pair{"stdout", STDOUT_FILENO}, {"stderr", STDERR_FILENO}}) {
    const std::string path = path_of(sequence, name);
    copy_file(path, to);
    if (results_.empty()) unlink(path.c_str());
  }
  if (!failure.mapped().empty()) tell_failure(failure.mapped());
}

void Printer::copy_file(const std::string& path, int to) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  // Held outputs that are empty have no file.
  if (fd < 0 && errno != ENOENT && fault_.empty()) fault_ = path + ": " + std::strerror(errno);
  std::array<char, 65536> buffer{};
  for (ssize_t got = 1; fd >= 0 && got > 0;) {
    got = read(fd, buffer.data(), buffer.size());
    if (got > 0 && !show(to, {buffer.data(), static_cast<std::size_t>(got)})) break;
  }
  if (fd >= 0) close(fd);
}

bool Printer::write_stdout(std::string_view bytes) {
  return file_and_show(bytes, "stdout", stdout_file_, STDOUT_FILENO);
}

bool Printer::write_stderr(std::string_view bytes) {
  return file_and_show(bytes, "stderr", stderr_file_, STDERR_FILENO);
}

bool Printer::file_and_show(std::string_view bytes, const std::string& name, int& file, int terminal) {
  if (bytes.empty()) return true;
  if (file < 0 && hold_back_) file = open_file(name);
  const bool filed = file < 0 || write_to(file, bytes, path_of(current_.sequence, name));
  return (hold_back_ || show(terminal, bytes)) && filed;
}

bool Printer::show(int fd, std::string_view bytes) {
  display_.erase();
  if (isatty(fd) != 0) display_.set_open_line(bytes.back() != '\n');
  if (fd == STDOUT_FILENO) return write_to(fd, bytes, "stdout");
  write_all(fd, bytes);
  return true;
}

bool Printer::write_to(int fd, std::string_view bytes, const std::string& name) {
  const int error = write_all(fd, bytes);
  if (error != 0 && fault_.empty()) fault_ = name + ": " + std::strerror(error);
  return error == 0;
}

std::string Printer::path_of(Batch::Sequence sequence, const std::string& name) const {
  const std::string number = std::to_string(sequence);
  return results_.empty() ? held_ + "/" + number + "." + name : results_ + "/" + number + "/" + name;
}

int Printer::open_file(const std::string& name) {
  const std::string path = path_of(current_.sequence, name);
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0 && fault_.empty()) fault_ = path + ": " + std::strerror(errno);
  return fd;
}

void Printer::write_file(const std::string& name, std::string_view text) {
  const int fd = open_file(name);
  if (fd < 0) return;
  write_to(fd, text, path_of(current_.sequence, name));
  close(fd);
}

void Printer::close_files() {
  for (int* fd : {&stdout_file_, &stderr_file_}) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
}

}  // namespace kurultai
