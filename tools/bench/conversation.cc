#include "tools/bench/conversation.h"

#include "protocol/json_text.h"
#include "tools/bench/child.h"
#include "tools/kurultai/interrupts.h"

namespace kurultai::bench {

namespace {

using nlohmann::json;

constexpr Duration turn_time{20};

/// Without a limit of time: the events have no end, and all else is answered at once.
Request request(std::string method, std::string path, std::string body = {}) {
  Request request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.body = std::move(body);
  request.timeout = Duration(0);
  return request;
}

}  // namespace

Conversation::Conversation(const std::string& socket)
    : http_({.socket = socket, .url = "http://localhost", .token = {}, .places = {socket}}) {
  const auto id = http_.start(
      request("GET", "/v1/events"),
      [](const Answer<Response>&) { give_up("the supervisor ended the stream of events"); },
      [this](std::string_view bytes) {
        take_events(bytes);
        return true;
      });
  if (!wait_until([&] { return http_.opened(id); })) give_up("the supervisor has no events to tell");
}

bool Conversation::wait_until(const std::function<bool()>& condition, std::chrono::seconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    http_.turn({}, turn_time);
    if (Interrupts::count() > 0) give_up("interrupted");
  }
  return true;
}

void Conversation::take_events(std::string_view bytes) {
  for (const StreamEvent& event : stream_.feed(bytes)) {
    if (auto object = parse_json(event.data)) events_.push_back(std::move(*object));
  }
}

std::string Conversation::submit(const json& task) {
  const auto answer = http_.request(request("POST", "/v1/tasks", to_text(task)));
  const auto object = answer && answer->status == 202 ? parse_json(answer->body) : failure("");
  if (!object) give_up("a task was refused: " + (answer ? answer->body : answer.error().text));
  return object->value("taskId", "");
}

json Conversation::task(const std::string& id) { return get("/v1/tasks/" + id); }
json Conversation::why(const std::string& id) { return get("/v1/tasks/" + id + "/why"); }

json Conversation::get(const std::string& path) {
  const auto answer = http_.request(request("GET", path));
  return answer ? parse_json(answer->body).value_or(json::object()) : json::object();
}

void Conversation::cancel(const std::string& id) {
  if (auto answer = http_.request(request("DELETE", "/v1/tasks/" + id)); !answer)
    give_up(answer.error().text);
}

}  // namespace kurultai::bench
