#include "tools/kurultai/follow.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/kurultai/event_stream.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/task_view.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using Clock = std::chrono::steady_clock;

// How long an event may be missing before the task is asked for without one.
constexpr Duration with_events{3000};
constexpr Duration without_events{300};

class Following {
 public:
  Following(Http& http, std::string id, const FollowOptions& options)
      : http_(http), id_(std::move(id)), options_(options) {}

  Answer<std::string> run();

 private:
  void open_events();
  void open_logs();
  void take_events();
  void ask();
  void let_logs_end();

  Http& http_;
  std::string id_;
  FollowOptions options_;
  EventStream stream_;
  std::vector<StreamEvent> arrived_;
  Http::Id events_ = 0;
  bool events_open_ = false;
  bool subscribed_ = false;
  bool logs_open_ = false;
  bool asking_ = false;
  bool changed_ = true;
  Clock::time_point asked_at_;
  std::optional<Answer<std::string>> outcome_;
};

void Following::open_events() {
  events_open_ = true;
  subscribed_ = false;
  Request request;
  request.path = "/v1/events?taskId=" + url_escaped(id_);
  request.last_event_id = stream_.last_id();
  request.timeout = Duration(0);
  events_ = http_.start(
      std::move(request), [this](const auto&) { events_open_ = false; },
      [this](std::string_view bytes) {
        for (auto& event : stream_.feed(bytes)) arrived_.push_back(std::move(event));
        return true;
      });
}

void Following::open_logs() {
  logs_open_ = true;
  Request request;
  request.path = task_path(id_) + "/logs?follow=1";
  request.timeout = Duration(0);
  http_.start(
      std::move(request), [this](const auto&) { logs_open_ = false; },
      [](std::string_view bytes) { return write_all(STDERR_FILENO, bytes) == 0; });
}

void Following::take_events() {
  // What happened between the last question and the subscription was seen by neither: ask once more.
  if (!subscribed_ && http_.opened(events_)) subscribed_ = changed_ = true;
  for (const auto& event : arrived_) {
    changed_ = true;
    if (!options_.progress || event.type != "taskProgress") continue;
    const auto data = parse_json(event.data);
    if (!data) continue;
    const std::string message = printable(text_field(*data, "message"));
    const double percent =
        number_field(*data, "percent").value_or(number_field(*data, "progress").value_or(0));
    std::fprintf(stderr, "%3.0f %% %s\n", percent, message.c_str());
  }
  arrived_.clear();
}

void Following::ask() {
  asking_ = true;
  changed_ = false;
  asked_at_ = Clock::now();
  Request request;
  request.path = task_path(id_);
  http_.start(std::move(request), [this](Answer<Response> response) {
    asking_ = false;
    auto body = body_of(std::move(response));
    if (!body) {
      outcome_ = std::move(body);
      return;
    }
    const auto object = parse_answer(*body);
    if (!object) {
      outcome_ = std::unexpected(object.error());
    } else if (decode_task(*object).finished()) {
      outcome_ = std::move(body);
    }
  });
}

// The task's last lines may still be on their way when its end is known.
void Following::let_logs_end() {
  const auto until = Clock::now() + std::chrono::seconds(2);
  while (logs_open_ && Clock::now() < until && Interrupts::count() == 0) http_.turn({}, Duration(100));
}

Answer<std::string> Following::run() {
  Interrupts interrupts;
  std::array<Watch, 1> watches = {Watch{interrupts.fd()}};
  if (options_.logs) open_logs();
  while (!outcome_) {
    if (Interrupts::count() > 0) {
      return complaint(ExitStatus::interrupted,
                       "no longer waiting; task " + id_ + " goes on, `kurultai cancel " + id_ + "` ends it");
    }
    const Duration patience = events_open_ ? with_events : without_events;
    const bool due = changed_ || Clock::now() - asked_at_ >= patience;
    if (due && !events_open_) open_events();
    if (due && !asking_) ask();
    http_.turn(watches, patience);
    take_events();
  }
  if (options_.logs) let_logs_end();
  return std::move(*outcome_);
}

}  // namespace

Answer<std::string> follow_task(Http& http, const std::string& id, const FollowOptions& options) {
  // On a connection of its own: the requests that are under way when it ends are dropped with it.
  Http own(http.endpoint());
  return Following(own, id, options).run();
}

}  // namespace kurultai
