#include "tools/kurultai/supervisor.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/text.h"

namespace kurultai {

std::string without_newline(std::string body) {
  if (body.ends_with('\n')) body.pop_back();
  return body;
}

Answer<std::string> body_of(Answer<Response> response) {
  if (!response) return std::unexpected(response.error());
  if (is_good(*response)) return without_newline(std::move(response->body));
  return std::unexpected(refusal(response->status, response->body));
}

Answer<std::string> get(Http& http, const std::string& path) {
  Request request;
  request.path = path;
  return body_of(http.request(std::move(request)));
}

Answer<std::string> post(Http& http, const std::string& path, const std::string& body, Duration timeout) {
  return body_of(http.request({"POST", path, body, "", timeout}));
}

Answer<nlohmann::json> parse_answer(const std::string& body) {
  auto value = parse_json(body);
  if (!value) {
    return complaint(ExitStatus::no_supervisor,
                     "what answers there is no supervisor: " + value.error().message);
  }
  return std::move(*value);
}

Answer<nlohmann::json> get_json(Http& http, const std::string& path) {
  const auto body = get(http, path);
  if (!body) return std::unexpected(body.error());
  return parse_answer(*body);
}

Answer<ExitStatus> show(Http& http, const std::string& path, bool as_json,
                        std::string (*as_text)(const nlohmann::json&)) {
  const auto body = get(http, path);
  if (!body) return std::unexpected(body.error());
  const auto object = parse_answer(*body);
  if (!object) return std::unexpected(object.error());
  std::fputs(as_json ? (*body + "\n").c_str() : as_text(*object).c_str(), stdout);
  return ExitStatus::done;
}

Answer<std::int64_t> copy_to(Http& http, const std::string& path, int fd, bool endless) {
  std::int64_t count = 0;
  int error = 0;
  Request request;
  request.path = path;
  request.timeout = Duration(0);
  if (!endless) request.timeout = std::chrono::hours(1);
  auto body = body_of(http.request(std::move(request), [&](std::string_view bytes) {
    error = write_all(fd, bytes);
    count += static_cast<std::int64_t>(bytes.size());
    return error == 0;
  }));
  if (error != 0) return complaint(ExitStatus::task_failed, std::string("write: ") + std::strerror(error));
  if (!body) return std::unexpected(body.error());
  return count;
}

int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    // A reader that has stopped reading must not keep a second Ctrl-C from ending us.
    if (written < 0 && errno == EINTR && Interrupts::count() < 2) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

std::string task_path(const std::string& id) { return "/v1/tasks/" + url_escaped(id); }

}  // namespace kurultai
