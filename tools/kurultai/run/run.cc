#include "tools/kurultai/run/run.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/run/arguments.h"
#include "tools/kurultai/run/batch.h"
#include "tools/kurultai/run/batch_client.h"
#include "tools/kurultai/run/input.h"
#include "tools/kurultai/run/printer.h"
#include "tools/kurultai/run/private_supervisor.h"
#include "tools/kurultai/run/progress.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr Duration longest_start{10000};
constexpr Duration memory_period{1000};
constexpr Duration no_timeout =
    std::chrono::hours(24 * 365);  // the agent's default of an hour is not meant here

BatchLimits batch_limits(const RunOptions& options) {
  const auto jobs = static_cast<std::size_t>(options.jobs);
  BatchLimits limits;
  limits.unfinished = jobs + std::max<std::size_t>(2 * jobs, 16);
  limits.keep_order = options.keep_order;
  return limits;
}

PrivateLimits private_limits(const RunOptions& options, const MemoryPlan& memory) {
  const BatchLimits batch = batch_limits(options);
  const std::size_t queue = batch.unfinished - static_cast<std::size_t>(options.jobs);
  // What has ended is kept until it is collected: all that can have ended while one output is being written.
  return {memory.budget, memory.memory, options.jobs, queue, batch.ended + 2 * batch.unfinished};
}

class Run {
 public:
  Run(const RunOptions& options, const MemoryPlan& memory, CommandLine line, Input input, bool once)
      : options_(options),
        memory_(memory),
        command_(std::move(line.command)),
        input_(std::move(input)),
        once_(once) {}

  /// The exit status, or why the run itself failed.
  Result<int> go();

 private:
  Result<void> start_supervisor();
  Result<void> wait_until_healthy(Http& http);
  Result<void> work(Http& http);
  bool over() const;
  Result<void> turn(Http& http);
  Result<void> submit_more();
  std::string task_body(const std::vector<std::string>& argv) const;
  void print_next();
  void take_interrupts();
  void count_left_over();
  void ask_memory(Http& http, TimePoint now);
  void draw(TimePoint now);
  void say(const std::string& line);
  void say_summary();

  const RunOptions& options_;
  MemoryPlan memory_;
  std::vector<std::string> command_;
  Input input_;
  bool once_;  // the command as it stands, without an argument

  Interrupts interrupts_;
  PrivateSupervisor supervisor_;
  ProgressDisplay display_;
  Batch batch_{batch_limits(options_)};
  std::optional<BatchClient> client_;
  std::optional<Printer> printer_;
  int interrupts_seen_ = 0;
  TimePoint started_at_{};
  TimePoint memory_asked_at_{};
  std::optional<Bytes> memory_used_;
};

void Run::say(const std::string& line) {
  display_.begin_line();
  std::fprintf(stderr, "kurultai: %s\n", line.c_str());
}

Result<void> Run::start_supervisor() {
  if (auto started = supervisor_.start(private_limits(options_, memory_)); !started) return started;
  Http http(supervisor_.endpoint());
  return wait_until_healthy(http);
}

Result<void> Run::wait_until_healthy(Http& http) {
  const auto until = steady_clock::now() + longest_start;
  std::array<Watch, 2> watches = {Watch{supervisor_.stderr_fd()}, Watch{interrupts_.fd()}};
  while (steady_clock::now() < until && Interrupts::count() == 0) {
    Request request;
    request.path = "/health";
    const auto response = http.request(std::move(request));
    const auto health = response ? parse_json(response->body) : failure("");
    if (health && response->status == 200) {
      if (text_field(*health, "guarantee") == "rlimit") {
        say("no memory cgroup can be written here, so caps are held by rlimits and supervision, not by the "
            "kernel");
      }
      return {};
    }
    http.turn(watches, Duration(10));
    if (watches[0].readable && !supervisor_.read_stderr()) {
      return failure("the private supervisor did not start: " + supervisor_.last_words());
    }
  }
  if (Interrupts::count() > 0) return {};
  return failure("the private supervisor was not ready within 10 s: " + supervisor_.last_words());
}

std::string Run::task_body(const std::vector<std::string>& argv) const {
  json payload = {{"command", argv}};
  std::error_code unknown;
  if (const auto here = std::filesystem::current_path(unknown); !unknown) payload["cwd"] = here.string();
  json task = {
      {"agent", "exec"}, {"payload", payload}, {"timeout", to_string(options_.timeout.value_or(no_timeout))}};
  if (!options_.priority.empty()) task["priority"] = options_.priority;
  if (options_.retries > 0) task["retries"] = options_.retries;
  return to_text(task);
}

Result<void> Run::submit_more() {
  if (interrupts_seen_ > 0 || client_->submitting() || !client_->ready() || !batch_.has_room()) return {};
  const auto argument = input_.next();
  if (!argument) return {};
  const auto argv = once_ ? command_ : with_argument(command_, *argument);
  for (const auto& word : argv) {
    if (const auto fault = fault_of(word))
      return failure("an argument of '" + command_label(argv, *argument) + "' " + *fault);
  }
  client_->submit(command_label(argv, *argument), task_body(argv));
  return {};
}

void Run::print_next() {
  while (const auto held = batch_.next_to_print()) {
    printer_->print_held(*held);
    batch_.printed(*held);
  }
  if (printer_->busy()) return;
  const auto next = batch_.next_to_collect();
  if (!next) return;
  printer_->collect(
      *next, !batch_.in_turn(next->sequence),
      [this, sequence = next->sequence](bool completed) { batch_.collected(sequence, completed); });
}

void Run::take_interrupts() {
  interrupts_.clear();
  const int count = Interrupts::count();
  if (count == interrupts_seen_) return;
  const bool first = interrupts_seen_ == 0;
  interrupts_seen_ = count;
  if (!first || count > 1) return;
  client_->stop_waiting();
  const std::size_t running = batch_.counts().running;
  if (running == 0) return;
  say("letting " + std::to_string(running) + (running == 1 ? " running command" : " running commands") +
      " finish; press Ctrl-C again to end at once");
}

bool Run::over() const {
  if (interrupts_seen_ > 1) return true;
  const bool all_submitted = interrupts_seen_ > 0 || input_.at_end();
  return all_submitted && !client_->submitting() && batch_.empty();
}

void Run::ask_memory(Http& http, TimePoint now) {
  if (!display_.on_terminal() || now - memory_asked_at_ < memory_period) return;
  memory_asked_at_ = now;
  Request request;
  request.path = "/v1/memory";
  http.start(std::move(request), [this](Answer<Response> response) {
    const auto memory = response ? parse_json(response->body) : failure("");
    if (memory) memory_used_ = bytes_field(*memory, "usedBytes");
  });
}

void Run::draw(TimePoint now) {
  if (!display_.due(now)) return;
  const auto& counts = batch_.counts();
  const std::size_t ended = counts.done + counts.failed;
  ProgressFigures figures{
      counts.done, counts.running, counts.waiting, counts.failed, memory_used_, memory_.budget, {}};
  if (const auto total = input_.total(); total && interrupts_seen_ == 0) {
    figures.queued = *total - std::min(*total, ended + counts.running);
    figures.left = time_left(ended, *total, std::chrono::duration_cast<Duration>(now - started_at_));
  }
  display_.draw(progress_line(figures), now);
}

Result<void> Run::turn(Http& http) {
  const TimePoint now = steady_clock::now();
  std::array<Watch, 3> watches = {Watch{interrupts_.fd()}, Watch{supervisor_.stderr_fd()},
                                  Watch{input_.fd()}};
  const bool reading = input_.wants_reading() && interrupts_seen_ == 0;
  const Duration patience =
      std::min(client_->patience(now), display_.on_terminal() ? Duration(200) : Duration(5000));
  http.turn(std::span(watches).first(reading ? 3 : 2), patience);
  take_interrupts();
  if (watches[1].readable && !supervisor_.read_stderr()) {
    return failure("the private supervisor ended: " + supervisor_.last_words());
  }
  if (watches[2].readable) {
    if (auto read = input_.read_some(); !read) return read;
  }
  client_->step(steady_clock::now());
  if (!client_->fault().empty()) return failure(client_->fault());
  return {};
}

Result<void> Run::work(Http& http) {
  started_at_ = steady_clock::now();
  client_.emplace(http, batch_, [this](const std::string& line) { say(line); });
  printer_.emplace(http, display_, options_.results, supervisor_.directory() + "/held");
  client_->start(started_at_);
  take_interrupts();
  for (;;) {
    print_next();  // first: it can be what makes room, and the last thing to do
    if (!printer_->fault().empty()) return failure(printer_->fault());
    if (over()) return {};
    if (auto submitted = submit_more(); !submitted) return submitted;
    const TimePoint now = steady_clock::now();
    ask_memory(http, now);
    draw(now);
    if (auto turned = turn(http); !turned && interrupts_seen_ < 2) return turned;
  }
}

void Run::count_left_over() {
  if (interrupts_seen_ == 0) return;
  const auto& counts = batch_.counts();
  std::size_t left = counts.waiting + counts.running;
  if (const auto total = input_.total()) {
    left = *total - std::min(*total, counts.done + counts.failed + counts.not_run);
  } else {
    ++left;  // of a stream nobody knows how much more was to come
  }
  batch_.left_over(left);
}

void Run::say_summary() {
  display_.erase();
  const auto& counts = batch_.counts();
  if (input_.total() == 0U && interrupts_seen_ == 0) say("no arguments were given, so nothing was run");
  if (!display_.on_terminal() || once_) return;
  const auto took = std::chrono::duration_cast<Duration>(steady_clock::now() - started_at_);
  std::string line = std::to_string(counts.done) + " done, " + std::to_string(counts.failed) + " failed";
  if (counts.not_run > 0) line += ", " + std::to_string(counts.not_run) + " not run";
  say(line + " in " + brief(took));
}

Result<int> Run::go() {
  if (auto started = start_supervisor(); !started) return std::unexpected(started.error());
  Result<void> worked;
  {
    Http http(supervisor_.endpoint());
    worked = work(http);
    printer_.reset();
    client_.reset();
  }
  display_.erase();
  const bool gone = supervisor_.stop();
  if (!worked) return std::unexpected(worked.error());
  if (!gone) return failure("processes of the private supervisor may still run");
  count_left_over();
  say_summary();
  return exit_status(batch_.counts());
}

/// `:::` arguments, else the lines of stdin; without either, at a terminal, the command runs once.
Input choose_input(const CommandLine& line, bool& once) {
  once = !line.arguments && isatty(STDIN_FILENO) != 0;
  if (line.arguments) return Input(*line.arguments);
  return once ? Input(std::vector<std::string>{""}) : Input::lines_of(STDIN_FILENO);
}

int fail(const std::string& text) {
  complain("run", {ExitStatus::usage, text, {}, {}});
  return run_own_error;
}

}  // namespace

int run(const RunOptions& options) {
  auto line = split_arguments(options.command);
  if (!line) return fail(line.error().text);
  const auto memory = plan_memory(options.budget, options.memory);
  if (!memory) return fail(memory.error().text);
  std::error_code error;
  if (!options.results.empty() && !std::filesystem::create_directories(options.results, error) && error) {
    return fail("--results " + options.results + ": " + error.message() +
                "; name a directory that can be made");
  }
  std::signal(
      SIGPIPE,
      SIG_IGN);  // a reader that goes away is an error of the write; the supervisor still ends in order
  bool once = false;
  Input input = choose_input(*line, once);
  const auto status = Run(options, *memory, std::move(*line), std::move(input), once).go();
  return status ? *status : fail(status.error().message);
}

}  // namespace kurultai
