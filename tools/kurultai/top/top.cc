// `top`: who uses the memory, what runs and what waits, once a second.
#include <array>
#include <chrono>
#include <cstdio>
#include <deque>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/kurultai/colour.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/event_stream.h"
#include "tools/kurultai/event_text.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/text.h"
#include "tools/kurultai/top/screen.h"
#include "tools/kurultai/top/terminal.h"

namespace kurultai {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr Duration pace{1000};
constexpr Duration most_patience{10'000};
constexpr std::size_t most_events = 50;
// The supervisor sends what it remembers at once; so much silence means that there is no more of it.
constexpr Duration end_of_memory{200};
constexpr Duration longest_memory{2000};

struct TopOptions {
  bool once = false;
  bool json = false;
};

/// What is asked for in every round; a bounded number of rows of each list.
constexpr std::array questions = {"/health", "/v1/workers", "/v1/queue?limit=1",
                                  "/v1/tasks?state=running,suspended&limit=200"};
enum Question : std::size_t { health, workers, queue, tasks };

std::string_view colour_of(ScreenLine::Look look) {
  switch (look) {
    case ScreenLine::Look::plain:
      return "";
    case ScreenLine::Look::heading:
      return "\x1b[1m";
    case ScreenLine::Look::detail:
      return "\x1b[2m";
    case ScreenLine::Look::good:
      return "\x1b[32m";
    case ScreenLine::Look::notice:
      return "\x1b[33m";
    case ScreenLine::Look::bad:
      return "\x1b[31m";
  }
  return "";
}

std::string text_of(const std::vector<ScreenLine>& lines, bool coloured) {
  std::string out;
  for (const ScreenLine& line : lines) {
    const std::string_view colour = coloured ? colour_of(line.look) : "";
    out.append(colour).append(line.text).append(colour.empty() ? "\n" : "\x1b[0m\n");
  }
  return out;
}

class Top {
 public:
  explicit Top(Http& http) : http_(http) {}

  Answer<ExitStatus> watch();
  Answer<ExitStatus> once(bool as_json);

 private:
  void ask();
  void take(std::size_t question, Answer<Response> response);
  void open_events();
  void take(const StreamEvent& event);
  bool is_whole() const { return unanswered_ == 0; }
  void wait_for_all(std::span<Watch> watches);
  Answer<ExitStatus> run(Interrupts& interrupts);
  void round();
  /// False: the user has had enough.
  bool obey(Terminal& terminal, std::string_view keys);
  void draw(Terminal& terminal) const;
  TopState state() const;

  Http& http_;
  std::array<json, questions.size()> answers_;
  std::size_t unanswered_ = 0;
  std::optional<Complaint> trouble_;
  EventStream stream_;
  bool is_listening_ = false;  // to the stream
  bool has_heard_ = false;     // something on it, since it was opened
  Clock::time_point last_byte_;
  Clock::time_point next_round_;
  std::deque<std::string> said_;  // the newest events as they were sent
  std::vector<TopEvent> events_;  // and as sentences
  TopView view_;
  bool is_stale_ = true;  // what is on the screen
};

void Top::ask() {
  unanswered_ = questions.size();
  for (std::size_t i = 0; i < questions.size(); ++i) {
    Request request;
    request.path = questions[i];
    request.timeout = most_patience;
    http_.start(std::move(request), [this, i](Answer<Response> response) { take(i, std::move(response)); });
  }
}

void Top::take(std::size_t question, Answer<Response> response) {
  unanswered_ -= 1;
  is_stale_ = is_stale_ || is_whole();
  const bool is_unwell = question == health && response && response->status == 503;  // and says how
  if (is_unwell) response->status = 200;
  const auto body = body_of(std::move(response));
  auto object = body ? parse_answer(*body) : std::unexpected(body.error());
  if (object) {
    answers_.at(question) = std::move(*object);
  } else if (!trouble_) {
    trouble_ = std::move(object.error());
  }
}

void Top::open_events() {
  Request request;
  request.path = "/v1/events";
  request.timeout = Duration(0);
  request.last_event_id = stream_.last_id().empty() ? "0" : stream_.last_id();
  is_listening_ = true;
  has_heard_ = false;
  last_byte_ = Clock::now();
  http_.start(
      std::move(request),
      [this](Answer<Response> response) {
        is_listening_ = false;
        // It may be cut, for slowness or a restart. Only one that was never there tells that nobody is.
        if (!response && !has_heard_ && !trouble_) trouble_ = std::move(response.error());
      },
      [this](std::string_view bytes) {
        has_heard_ = true;
        last_byte_ = Clock::now();
        for (const StreamEvent& event : stream_.feed(bytes)) take(event);
        return true;
      });
}

void Top::take(const StreamEvent& event) {
  if (event.type == "taskProgress") return;  // the tasks show it
  const auto data = parse_json(event.data);
  if (!data) return;
  const EventText text = describe_event(event.type, *data);
  const WallTime now = std::chrono::system_clock::now();
  const auto time = parse_rfc3339(text_field(*data, "time"));
  events_.push_back({(time ? clock_text(*time, now) : "-") + "  " + text.sentence, text.tone});
  said_.push_back(event.data);
  if (said_.size() <= most_events) return;
  said_.pop_front();
  events_.erase(events_.begin());
}

TopState Top::state() const {
  return decode_top(answers_[health], answers_[workers], answers_[queue], answers_[tasks]);
}

void Top::wait_for_all(std::span<Watch> watches) {
  while (!is_whole() && !trouble_ && Interrupts::count() == 0) http_.turn(watches, pace);
}

void Top::draw(Terminal& terminal) const {
  TopView view = view_;
  const ScreenSize size = screen_size();
  view.columns = size.columns;
  view.rows = size.rows;
  view.now = std::chrono::system_clock::now();
  terminal.show(text_of(draw_top(state(), events_, view), colours_wanted()));
}

bool Top::obey(Terminal& terminal, std::string_view keys) {
  constexpr char ctrl_z = 0x1A, ctrl_backslash = 0x1C;
  for (const char key : keys) {
    is_stale_ = true;
    if (key == 'q' || key == 'Q' || key == ctrl_backslash) return false;
    if (key == 's') view_.order = next(view_.order);
    if (key == 'p') view_.paused = !view_.paused;
    if (key == ctrl_z) terminal.stop();
  }
  return true;
}

void Top::round() {
  if (Clock::now() < next_round_ || !is_whole()) return;
  next_round_ = Clock::now() + pace;
  if (!is_listening_) open_events();
  if (!view_.paused) ask();
}

Answer<ExitStatus> Top::run(Interrupts& interrupts) {
  Terminal terminal;
  while (!trouble_ && !terminal.is_gone()) {
    if (is_stale_ && is_whole()) draw(terminal), is_stale_ = false;
    std::array watches = {Watch{STDIN_FILENO}, Watch{terminal.resized_fd()}, Watch{interrupts.fd()}};
    const auto left = std::chrono::ceil<Duration>(next_round_ - Clock::now());
    http_.turn(watches, std::clamp(left, Duration(0), pace));
    if (Interrupts::count() > 0) return ExitStatus::done;
    if (watches[0].readable && !obey(terminal, terminal.keys())) return ExitStatus::done;
    if (watches[1].readable) terminal.clear_resized(), is_stale_ = true;
    round();
  }
  if (trouble_) return std::unexpected(*trouble_);
  return ExitStatus::done;
}

Answer<ExitStatus> Top::watch() {
  Interrupts interrupts;
  std::array watches = {Watch{interrupts.fd()}};
  next_round_ = Clock::now();
  round();
  wait_for_all(watches);  // whoever cannot be asked is complained of on the screen as it was
  if (trouble_) return std::unexpected(*trouble_);
  if (Interrupts::count() > 0) return ExitStatus::done;
  return run(interrupts);
}

Answer<ExitStatus> Top::once(bool as_json) {
  open_events();
  ask();
  const auto start = Clock::now();
  const auto hears = [&] {
    const auto now = Clock::now();
    return is_listening_ && now - last_byte_ < end_of_memory && now - start < longest_memory;
  };
  while (!trouble_ && (!is_whole() || hears())) http_.turn({}, end_of_memory);
  if (trouble_) return std::unexpected(*trouble_);
  if (as_json) {
    json events = json::array();
    for (const std::string& event : said_) events.push_back(json::parse(event));
    std::printf("%s\n", to_text({{"health", answers_[health]},
                                 {"workers", field(answers_[workers], "workers")},
                                 {"queue", answers_[queue]},
                                 {"tasks", field(answers_[tasks], "tasks")},
                                 {"events", events}})
                            .c_str());
    return ExitStatus::done;
  }
  TopView view = view_;
  view.keys = false;
  view.columns = isatty(STDOUT_FILENO) != 0 ? screen_size().columns : 120;
  view.rows = 10'000;  // all there is
  view.now = std::chrono::system_clock::now();
  std::fputs(text_of(draw_top(state(), events_, view), colours_wanted()).c_str(), stdout);
  return ExitStatus::done;
}

Answer<ExitStatus> top(Http& http, const TopOptions& options) {
  Http own(http.endpoint());  // its stream is dropped with it
  Top top(own);
  return options.once || options.json || !Terminal::is_there() ? top.once(options.json) : top.watch();
}

}  // namespace

void add_top(Commands& commands) {
  auto& options = commands.keep<TopOptions>();
  Command command =
      commands.add("top", "memory, tasks, workers and events as they are, once a second",
                   "kurultai top\n  kurultai top --json | jq .health.memory.ratio\n\n"
                   "Keys: q quit, s sort by memory, priority or age, p pause. Without a terminal one frame.");
  command.flag("--once", options.once, "one frame, and no more");
  command.json_flag(options.json, "one frame as an object of the API's own");
  command.asks("top", [&options](Http& http) { return top(http, options); });
}

}  // namespace kurultai
