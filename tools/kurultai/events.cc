// `events`: what happened, one line an event.
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/kurultai/colour.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/event_stream.h"
#include "tools/kurultai/event_text.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using Clock = std::chrono::steady_clock;

struct EventsOptions {
  std::string task_id;  // empty: all
  std::string agent;    // likewise
  std::string types;    // with commas
  bool follow = false;
  bool progress = false;  // also what agents tell of their progress
  bool json = false;      // everything, as it was sent
};

// The supervisor sends what it remembers at once; so much silence means that there is no more of it.
constexpr Duration end_of_memory{300};

std::string text_of(const StreamEvent& event, bool coloured) {
  const auto data = parse_json(event.data);
  if (!data || !data->is_object()) return printable(event.type + "  " + event.data);
  return event_line(event.type, *data, std::chrono::system_clock::now(), coloured);
}

class Watching {
 public:
  Watching(Http& http, const EventsOptions& options) : http_(http), options_(options) {}

  Answer<ExitStatus> run();

 private:
  void open();
  void print(const StreamEvent& event) const;

  Http& http_;
  const EventsOptions& options_;
  bool coloured_ = colours_wanted();
  EventStream stream_;
  Clock::time_point last_byte_;
  std::optional<Answer<Response>> ended_;
};

void Watching::print(const StreamEvent& event) const {
  // Agents tell of their progress many times a second: between its lines the rest could not be read.
  const bool is_asked_for = options_.progress || !options_.types.empty();
  if (event.type == "taskProgress" && !is_asked_for && !options_.json) return;
  std::printf("%s\n", options_.json ? event.data.c_str() : text_of(event, coloured_).c_str());
  std::fflush(stdout);
}

void Watching::open() {
  ended_.reset();
  last_byte_ = Clock::now();
  Request request;
  request.path = "/v1/events?types=" + url_escaped(options_.types);
  if (!options_.task_id.empty()) request.path += "&taskId=" + url_escaped(options_.task_id);
  if (!options_.agent.empty()) request.path += "&agent=" + url_escaped(options_.agent);
  request.timeout = Duration(0);
  // At first from the oldest event that the supervisor remembers: what led here belongs to what happens.
  request.last_event_id = stream_.last_id().empty() ? "0" : stream_.last_id();
  http_.start(
      std::move(request), [this](Answer<Response> response) { ended_ = std::move(response); },
      [this](std::string_view bytes) {
        last_byte_ = Clock::now();
        for (const auto& event : stream_.feed(bytes)) print(event);
        return true;
      });
}

Answer<ExitStatus> Watching::run() {
  Interrupts interrupts;
  std::array<Watch, 1> watches = {Watch{interrupts.fd()}};
  open();
  while (Interrupts::count() == 0) {
    http_.turn(watches, options_.follow ? Duration(1000) : end_of_memory);
    if (ended_) {
      constexpr int nothing_to_come = 204;  // the task has ended
      if (*ended_ && (*ended_)->status == nothing_to_come) return ExitStatus::done;
      if (const auto body = body_of(std::move(*ended_)); !body) return std::unexpected(body.error());
      if (!options_.follow) return ExitStatus::done;
      http_.turn(watches, Duration(200));  // the stream was cut, for slowness or a restart: go on behind it
      open();
    }
    if (!options_.follow && Clock::now() - last_byte_ >= end_of_memory) return ExitStatus::done;
  }
  return options_.follow ? ExitStatus::done : ExitStatus::interrupted;
}

Answer<ExitStatus> show_events(Http& http, const EventsOptions& options) {
  Http own(http.endpoint());  // its stream is dropped with it
  return Watching(own, options).run();
}

}  // namespace

void add_events(Commands& commands) {
  auto& options = commands.keep<EventsOptions>();
  Command command = commands.add("events", "what has happened lately, and with --follow what happens next",
                                 "kurultai events --follow --type taskFailed,breakerChanged");
  command.flag("-f,--follow", options.follow, "go on until Ctrl-C, or to the end of the task");
  command.option("--task", options.task_id, "ID", "only this task's");
  command.option("--agent", options.agent, "NAME", "only this agent's, its tasks' and its workers'");
  command.option("--type", options.types, "TYPE,...", "only these, as in taskFailed,breakerChanged");
  command.flag("--progress", options.progress, "also what agents tell of their progress");
  command.json_flag(options.json);
  command.asks("events", [&options](Http& http) { return show_events(http, options); });
}

}  // namespace kurultai
