#include "tests/simulation/host.h"

#include <signal.h>

#include <algorithm>
#include <utility>

namespace kurultai::simulation {

namespace {

constexpr Duration settle_time{50};

}  // namespace

Command::Command(uv_loop_s& loop, Kernel& kernel, int number, Whim whim, Ended ended)
    : Program(loop, kernel, number), whim_(whim), ended_(std::move(ended)) {}

void Command::start() {
  later(whim_.pace, [this] { grow(); });
}

void Command::take_up() {
  if (std::exchange(wants_more_, false)) grow();
}

void Command::grow() {
  const bool leaks = whim_.course == Whim::Course::leaks;
  const Bytes missing = leaks ? whim_.step : whim_.memory - memory - swapped;
  if (missing <= Bytes{}) {
    if (whim_.cache > Bytes{}) kernel_.read_files(*this, whim_.cache);
    if (whim_.files > Bytes{}) kernel_.write_files(*this, whim_.files);
    later(whim_.work, [this] { finish(); });
    return;
  }
  const Bytes step = std::min(whim_.step, missing);
  wants_more_ = kernel_.grow(*this, step) < step;
  if (!wants_more_) later(whim_.pace, [this] { grow(); });
}

void Command::finish() {
  switch (whim_.course) {
    case Whim::Course::completes:
    case Whim::Course::leaves:
      return exit(0, 0);
    case Whim::Course::fails:
      return exit(1, 0);
    case Whim::Course::babbles:
      return exit(126, 0);
    case Whim::Course::crashes:
      return exit(0, SIGSEGV);
    case Whim::Course::leaks:
    case Whim::Course::goes_silent:
      return;
  }
}

void Command::on_signal(int signal) {
  if (signal != SIGTERM) return;
  later(whim_.answers_in, [this] {
    switch (whim_.on_preempt) {
      case Whim::OnPreempt::saves:
        return exit(0, SIGTERM);
      case Whim::OnPreempt::completes:
        return exit(0, 0);
      case Whim::OnPreempt::crashes:
        return exit(0, SIGSEGV);
      case Whim::OnPreempt::ignores:
        return;
    }
  });
}

void Command::exit(int status, int signal) {
  if (leave()) ended_(status, signal);
}

void Command::on_death(int signal) {
  end();
  ended_(0, signal);
}

void Host::on_message(const ToAgent& message) {
  std::visit([this](const auto& each) { hear(each); }, message);
}

void Host::hear(const TaskMessage& task) {
  const bool busy = task_.has_value() || leaving_;
  if (task_ && task_->id == task.task_id) return onlooker_.task_came_twice(*this, task.task_id);
  const auto part = onlooker_.task_came(*this, task);
  if (busy) {
    return say(Failed{.task_id = task.task_id, .error = "busy", .reason = FailReason::protocol_error});
  }
  task_ = Task{task.task_id, part.run, part.whim, task.grace};
  command_ = std::make_unique<Command>(loop_, kernel_, pid + 1, part.whim,
                                       [this](int status, int signal) { command_ended(status, signal); });
  kernel_.enter(group->name, *command_);
  command_->start();
  if (!part.whim.late_word) return;
  later(part.whim.work / 2, [this] {
    onlooker_.went_wrong(*this, "crashes, being a host");
    exit(0, SIGSEGV);
  });
}

void Host::hear(const Preempt& preempt) {
  onlooker_.preempt_came(*this, preempt.task_id);
  stop(preempt.task_id, Stop::preempt);
}

// SIGTERM is the same for the host as a word from the supervisor; its command gets a SIGTERM of its own.
void Host::on_signal(int signal) {
  if (signal == SIGTERM) later(Duration(1), [this] { on_shutdown(); });
}

void Host::on_shutdown() {
  leaving_ = true;
  if (task_) return stop(task_->id, Stop::shutdown);
  later(nature_.leaves_in, [this] { exit(0, 0); });
}

void Host::stop(const std::string& task_id, Stop why) {
  if (!task_ || task_->id != task_id) return;
  const bool first = task_->stop == Stop::none;
  task_->stop = std::max(task_->stop, why);
  if (!first || command_ == nullptr) return;
  command_->on_signal(SIGTERM);
  later(task_->grace, [this, task_id] {
    if (command_ != nullptr && task_ && task_->id == task_id) kernel_.kill(*command_);
  });
}

// It may be destroyed only when this has returned: the caller is one of its own functions.
void Host::command_ended(int status, int signal) {
  if (has_ended()) return one_less();
  later(settle_time, [this, status, signal] { sweep(status, signal); });
}

void Host::sweep(int status, int signal) {
  command_.reset();
  if (task_->whim.course != Whim::Course::leaves) return finish(status, signal, false);
  left_behind_ = std::make_unique<SecondProcess>(pid + 1, [this, status, signal] {
    if (has_ended()) return one_less();
    later(Duration(0), [this, status, signal] { finish(status, signal, true); });
  });
  kernel_.enter(group->name, *left_behind_);
  kernel_.kill(*left_behind_);
}

void Host::finish(int status, int signal, bool swept) {
  left_behind_.reset();
  const Task task = *std::exchange(task_, {});
  if (swept && task.stop == Stop::none) say(Swept{task.id, 1});
  answer(task, status, signal);
  if (leaving_) later(nature_.leaves_in, [this] { exit(0, 0); });
}

void Host::answer(const Task& task, int status, int signal) {
  const bool well = status == 0 && signal == 0;
  if (task.stop == Stop::cancel) {
    return say(Failed{
        .task_id = task.id, .error = "cancelled", .retryable = false, .reason = FailReason::cancelled});
  }
  if (well) return say(Complete{.task_id = task.id, .result = std::to_string(task.run)});
  if (task.stop == Stop::preempt) return say(Preempted{task.id, ""});
  if (task.stop == Stop::shutdown) return;
  Failed failed{.task_id = task.id, .error = "simulated"};
  if (signal != 0) {
    failed.reason = FailReason::signal;
    failed.signal = signal;
  } else {
    failed.reason = FailReason::exit_code;
    failed.exit_code = status;
  }
  say(failed);
}

}  // namespace kurultai::simulation
