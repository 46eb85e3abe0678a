// `events`: what happened, one line an event.
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/event_stream.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using Clock = std::chrono::steady_clock;

// The supervisor sends what it remembers at once; so much silence means that there is no more of it.
constexpr Duration end_of_memory{300};

std::string value_text(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : to_text(value);
}

/// `2026-03-01T12:00:00.000Z  taskFailed  taskId=… reason=memory_cap`.
std::string event_line(const StreamEvent& event) {
  const auto data = parse_json(event.data);
  if (!data || !data->is_object()) return printable(event.type + "  " + event.data);
  std::string rest;
  for (const auto& [name, value] : data->items()) {
    if (name == "id" || name == "time" || name == "type" || name == "correlationId" || value.is_null())
      continue;
    rest += (rest.empty() ? "" : " ") + name + "=" + value_text(value);
  }
  std::string type = event.type;
  type.resize(std::max<std::size_t>(type.size(), 16), ' ');
  return printable(text_field(*data, "time") + "  " + type + "  " + rest);
}

void print_event(const StreamEvent& event, bool as_json) {
  std::printf("%s\n", as_json ? event.data.c_str() : event_line(event).c_str());
  std::fflush(stdout);
}

class Watching {
 public:
  Watching(Http& http, std::string task_id, bool follow, bool as_json)
      : http_(http), task_id_(std::move(task_id)), follow_(follow), json_(as_json) {}

  Answer<ExitStatus> run();

 private:
  void open();

  Http& http_;
  std::string task_id_;
  bool follow_;
  bool json_;
  EventStream stream_;
  Clock::time_point last_byte_;
  std::optional<Answer<Response>> ended_;
};

void Watching::open() {
  ended_.reset();
  last_byte_ = Clock::now();
  Request request;
  request.path = "/v1/events" + (task_id_.empty() ? std::string() : "?taskId=" + url_escaped(task_id_));
  request.timeout = Duration(0);
  // Without --follow from the oldest event that the supervisor remembers.
  request.last_event_id = stream_.last_id().empty() && !follow_ ? "0" : stream_.last_id();
  http_.start(
      std::move(request), [this](Answer<Response> response) { ended_ = std::move(response); },
      [this](std::string_view bytes) {
        last_byte_ = Clock::now();
        for (const auto& event : stream_.feed(bytes)) print_event(event, json_);
        return true;
      });
}

Answer<ExitStatus> Watching::run() {
  Interrupts interrupts;
  std::array<Watch, 1> watches = {Watch{interrupts.fd()}};
  open();
  while (Interrupts::count() == 0) {
    http_.turn(watches, follow_ ? Duration(1000) : end_of_memory);
    if (ended_) {
      if (const auto body = body_of(std::move(*ended_)); !body) return std::unexpected(body.error());
      if (!follow_) return ExitStatus::done;
      http_.turn(watches, Duration(200));  // the stream was cut, for slowness or a restart: go on behind it
      open();
    }
    if (!follow_ && Clock::now() - last_byte_ >= end_of_memory) return ExitStatus::done;
  }
  return follow_ ? ExitStatus::done : ExitStatus::interrupted;
}

}  // namespace

Answer<ExitStatus> show_events(Http& http, const std::string& task_id, bool follow, bool json) {
  Http own(http.endpoint());  // its stream is dropped with it
  return Watching(own, task_id, follow, json).run();
}

}  // namespace kurultai
