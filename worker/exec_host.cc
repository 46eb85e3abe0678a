#include "worker/exec_host.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "worker/command.h"
#include "worker/descendants.h"
#include "worker/fd.h"
#include "worker/spoken_output.h"
#include "worker/supervisor_link.h"
#include "worker/verdict.h"

namespace kurultai {
namespace {

using std::chrono::steady_clock;

// Between a command's exit and the sweep: `cmd > >(tee log)` and the like end by themselves, with their
// output.
constexpr Duration settle_time{50};
// What a command prints waits so long in memory; from then on readers see it as it comes.
constexpr Duration show_after{500};

class ExecHost {
 public:
  ExecHost(const Launch& launch, pid_t parent, Fd signals)
      : launch_(launch), parent_(parent), signals_(std::move(signals)) {}

  int run();

 private:
  // Of the one command: under way; sent SIGTERM; sent SIGKILL; ended, while others of its tree have not.
  enum class Stage { idle, running, stopping, killing, settling };

  void turn();
  Result<void> take(std::string_view printed);
  void collect();
  void on_signals();
  void reap();
  void read_messages();
  void on_line(ToAgentLine line);
  void on(TaskMessage task);
  Result<void> begin(TaskMessage task);
  void on(const Cancel& cancel);
  void on(const Preempt& preempt);
  void on(const Shutdown& shutdown);
  void on(const Ping& ping) { send(Pong{ping.seq}); }
  void on(const Noise&) { warn("a line that is no message"); }
  void on(const Malformed& malformed) { warn(malformed.why); }
  void on(const auto&) {}  // meant for agents that keep something

  void stop(Stop why, Duration grace);
  void kill();
  void on_deadline();
  void show_output();
  void sweep_and_finish();
  void finish();
  void leave(Duration grace);
  void end_at_once();

  bool is_running(const std::string& task_id) const {
    return command_ && command_->task().task_id == task_id;
  }
  void enter(Stage stage, Duration limit);
  int poll_timeout() const;
  void send(const FromAgent& message);
  void warn(const std::string& message) { send(Log{"warn", "exec host: " + message}); }

  const Launch& launch_;
  pid_t parent_;
  Fd signals_;
  Fd nothing_{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  SupervisorLink supervisor_;

  Stage stage_ = Stage::idle;
  std::optional<TimePoint> deadline_;  // of the stage
  std::optional<TimePoint> show_at_;   // what was printed
  std::optional<Command> command_;
  std::optional<SpokenOutput> spoken_;  // absent: what the command prints is its result, or log
  Ended ended_;                         // filled in as things become known
  bool leaving_ = false;
  bool supervisor_gone_ = false;
  std::optional<int> exit_status_;
};

int ExecHost::run() {
  send(Ready{protocol_version, "exec"});
  while (!exit_status_) {
    turn();
    if (supervisor_gone_) end_at_once();
  }
  return *exit_status_;
}

void ExecHost::turn() {
  pollfd fds[] = {{STDIN_FILENO, POLLIN, 0},
                  {signals_.get(), POLLIN, 0},
                  {command_ ? command_->input_fd() : -1, POLLOUT, 0},
                  {command_ ? command_->output_fd() : -1, POLLIN, 0}};
  if (::poll(fds, std::size(fds), poll_timeout()) < 0) return;
  // The command's pipes first: the signals may end it.
  if (fds[3].revents != 0) collect();
  if (fds[2].revents != 0) command_->feed();
  if (fds[1].revents != 0) on_signals();
  if (fds[0].revents != 0) read_messages();
  on_deadline();
  show_output();
}

Result<void> ExecHost::take(std::string_view printed) {
  if (!spoken_) return command_->output().append(printed);
  spoken_->take(printed);
  return {};
}

void ExecHost::collect() {
  const auto collected = command_->collect([this](std::string_view printed) { return take(printed); });
  if (!show_at_ && command_->output().is_hidden()) show_at_ = steady_clock::now() + show_after;
  if (collected) return;
  ended_.output_trouble = collected.error().message;
  if (stage_ == Stage::running || stage_ == Stage::stopping) kill();
}

void ExecHost::on_signals() {
  signalfd_siginfo signals[4];
  const ssize_t size = ::read(signals_.get(), signals, sizeof signals);
  for (ssize_t at = 0; at < size / static_cast<ssize_t>(sizeof *signals); ++at) {
    if (signals[at].ssi_signo != SIGTERM) continue;
    if (::getppid() != parent_) {
      supervisor_gone_ = true;
    } else {
      leave(command_ ? command_->task().grace : Duration{0});
    }
  }
  reap();
}

void ExecHost::reap() {
  bool ended = false;
  pid_t pid = 0;
  int status = 0;
  rusage usage{};
  while ((pid = ::wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0 || (pid < 0 && errno == EINTR)) {
    if (!command_ || pid != command_->pid()) continue;
    ended = true;
    ended_.status = status;
    ended_.peak = kibibytes(usage.ru_maxrss);
  }
  if (!ended && stage_ != Stage::settling) return;
  if (pid < 0) return finish();  // ECHILD: as a subreaper we would have what was left
  if (stage_ == Stage::killing) return sweep_and_finish();
  if (ended) enter(Stage::settling, settle_time);
}

void ExecHost::read_messages() {
  const bool open = supervisor_.read([this](ToAgentLine line) {
    if (!exit_status_) on_line(std::move(line));
  });
  if (!open) supervisor_gone_ = true;
}

void ExecHost::on_line(ToAgentLine line) {
  if (auto* message = std::get_if<ToAgent>(&line)) {
    std::visit([this](auto& one) { on(std::move(one)); }, *message);
  } else {
    std::visit([this](const auto& other) { on(other); }, line);
  }
}

void ExecHost::on(TaskMessage task) {
  if (stage_ != Stage::idle || leaving_) {
    return send(Failed{.task_id = task.task_id, .error = "busy", .reason = FailReason::protocol_error});
  }
  ended_ = Ended{.task_id = task.task_id};
  if (const auto began = begin(std::move(task)); !began) {
    spoken_.reset();
    send(not_started(ended_.task_id, began.error()));
  }
}

Result<void> ExecHost::begin(TaskMessage task) {
  if (!task.output.empty()) {
    auto order = read_output_order(task.output);
    if (!order) return std::unexpected(order.error());
    ended_.printed = order->is_log ? Printed::log : Printed::words;
    if (!order->is_log) {
      spoken_.emplace(std::move(*order), task.result_limit, [this](std::string progress) {
        send(Progress{.task_id = ended_.task_id, .message = std::move(progress)});
      });
    }
  }
  auto started = Command::start(std::move(task), launch_, nothing_.get(), ended_.printed == Printed::log);
  if (!started) return std::unexpected(started.error());
  command_.emplace(std::move(*started));
  stage_ = Stage::running;
  return {};
}

void ExecHost::on(const Cancel& cancel) {
  if (!is_running(cancel.task_id)) return;  // it ended while the message was on its way
  ended_.cancel_reason = cancel.reason;
  stop(Stop::cancel, command_->task().grace);
}

void ExecHost::on(const Preempt& preempt) {
  if (is_running(preempt.task_id)) stop(Stop::preempt, preempt.grace);
}

void ExecHost::on(const Shutdown& shutdown) { leave(shutdown.grace); }

void ExecHost::leave(Duration grace) {
  leaving_ = true;
  if (command_) {
    stop(Stop::shutdown, grace);
  } else {
    exit_status_ = 0;
  }
}

void ExecHost::stop(Stop why, Duration grace) {
  if (stage_ == Stage::settling) return;  // it has ended by itself
  ended_.stop = std::max(ended_.stop, why);
  if (stage_ != Stage::running) return;
  signal_descendants(SIGTERM);
  signal_descendants(SIGCONT);  // a stopped process could not act on it
  enter(Stage::stopping, grace);
}

void ExecHost::kill() {
  signal_descendants(SIGKILL);
  enter(Stage::killing, kill_patience);
}

void ExecHost::show_output() {
  if (!show_at_ || steady_clock::now() < *show_at_) return;
  show_at_.reset();
  command_->output().show();
}

void ExecHost::on_deadline() {
  if (!deadline_ || steady_clock::now() < *deadline_) return;
  switch (stage_) {
    case Stage::stopping:
      return kill();
    case Stage::killing:
      exit_status_ = exit_undead;
      return;
    case Stage::settling:
      return sweep_and_finish();
    case Stage::idle:
    case Stage::running:
      return;
  }
}

void ExecHost::sweep_and_finish() {
  const auto killed = sweep(kill_patience);
  if (!killed) {
    exit_status_ = exit_undead;
    return;
  }
  // What a stop of ours cut off did not outlive its task.
  if (*killed > 0 && ended_.stop == Stop::none && ended_.output_trouble.empty()) {
    send(Swept{ended_.task_id, *killed});
  }
  finish();
}

void ExecHost::finish() {
  const auto drained = command_->drain([this](std::string_view printed) { return take(printed); });
  if (!drained) ended_.output_trouble = drained.error().message;
  if (spoken_) {
    spoken_->end();
    ended_.word = spoken_->last_word();
    ended_.note = spoken_->note();
  }
  const auto answer = verdict(ended_, command_->output());
  command_.reset();
  spoken_.reset();
  stage_ = Stage::idle;
  deadline_.reset();
  show_at_.reset();
  if (answer) send(*answer);
  if (leaving_) exit_status_ = 0;
}

void ExecHost::end_at_once() { exit_status_ = sweep(kill_patience) ? 0 : exit_undead; }

void ExecHost::enter(Stage stage, Duration limit) {
  stage_ = stage;
  deadline_ = steady_clock::now() + limit;
}

int ExecHost::poll_timeout() const {
  if (!deadline_ && !show_at_) return -1;
  const TimePoint next = std::min(deadline_.value_or(TimePoint::max()), show_at_.value_or(TimePoint::max()));
  const auto left = std::chrono::ceil<Duration>(next - steady_clock::now());
  return static_cast<int>(std::clamp<Duration::rep>(left.count(), 0, 3'600'000));
}

void ExecHost::send(const FromAgent& message) {
  if (!supervisor_.send(message)) supervisor_gone_ = true;
}

}  // namespace

int host_commands(const Launch& launch, pid_t parent) {
  ::mallopt(M_MMAP_THRESHOLD, 128 * 1024);  // fixed: the memory of one large message goes back to the system
  Fd signals = watch_signals();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (launch.identity) ::prctl(PR_SET_DUMPABLE, 0);
  if (!bind_to_parent(parent, SIGTERM)) return exit_launch_failed;
  return ExecHost(launch, parent, std::move(signals)).run();
}

}  // namespace kurultai
