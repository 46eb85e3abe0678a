// A simulated host of commands: it runs one at a time, each a process of its own in the same group, and says
// how it ended. It follows worker/exec_host.cc.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "tests/simulation/child.h"

namespace kurultai::simulation {

/// What one task runs: it knows no protocol, only signals and its exit status.
class Command : public Program {
 public:
  using Ended = std::function<void(int status, int signal)>;
  Command(uv_loop_s& loop, Kernel& kernel, int number, Whim whim, Ended ended);
  void start();

  // Process
  void on_signal(int signal) override;
  void on_death(int signal) override;

 private:
  void take_up() override;
  void grow();
  void finish();
  void exit(int status, int signal);

  Whim whim_;
  Ended ended_;
  bool wants_more_ = false;  // than there was
};

class Host : public Child {
 public:
  using Child::Child;

  void on_signal(int signal) override;

 private:
  enum class Stop : unsigned char { none, preempt, cancel, shutdown };
  struct Task {
    std::string id;
    std::uint64_t run;
    Whim whim;
    Duration grace;
    Stop stop = Stop::none;
  };

  std::string own_name() const override { return "exec"; }
  void on_message(const ToAgent& message) override;
  void on_shutdown() override;
  void let_go() override {}

  void hear(const TaskMessage& task);
  void hear(const Cancel& cancel) { stop(cancel.task_id, Stop::cancel); }
  void hear(const Preempt& preempt);
  void hear(const Ping& ping) { say(Pong{ping.seq}); }
  void hear(const Shutdown&) { on_shutdown(); }
  template <typename Other>
  void hear(const Other&) {}

  void stop(const std::string& task_id, Stop why);
  void command_ended(int status, int signal);
  void sweep(int status, int signal);
  void finish(int status, int signal, bool swept);
  void answer(const Task& task, int status, int signal);

  std::optional<Task> task_;
  std::unique_ptr<Command> command_;
  std::unique_ptr<Process> left_behind_;  // by a command, and not yet swept
  bool leaving_ = false;
};

}  // namespace kurultai::simulation
