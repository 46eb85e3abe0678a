// A simulated child of the supervisor: a process in a memory group that speaks the agent protocol, version 1,
// through the real codec, over simulated pipes. It is an agent itself, or the host of commands.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "protocol/line_splitter.h"
#include "protocol/messages.h"
#include "tests/simulation/program.h"
#include "tests/simulation/whim.h"

namespace kurultai::simulation {

class Child;

/// Is told what children see and do, and decides what the next task is like.
class Onlooker {
 public:
  virtual ~Onlooker() = default;
  struct Part {
    std::uint64_t run;  // unique among all runs
    Whim whim;
  };
  virtual Part task_came(const Child& child, const TaskMessage& task) = 0;
  virtual void task_came_twice(const Child& child, const std::string& task_id) = 0;
  /// Whether the supervisor takes it to have this task: a late word of an earlier run would be believed.
  virtual bool is_given(const Child& child, const std::string& task_id) const = 0;
  virtual void preempt_came(const Child& child, const std::string& task_id) = 0;
  virtual void said(const Child& child, const FromAgent& message) = 0;
  /// It ended, or broke the protocol, by its own doing.
  virtual void went_wrong(const Child& child, const char* how) = 0;
};

/// The child's ends of its pipes.
struct ChildPipes {
  std::shared_ptr<Pipe> in = std::make_shared<Pipe>();
  std::shared_ptr<Pipe> out = std::make_shared<Pipe>();
  std::shared_ptr<Pipe> err = std::make_shared<Pipe>();
};

class Child : public Program {
 public:
  struct Identity {
    int pid;
    std::string worker;
    std::string name;  // of the configured agent
  };
  /// Where it lives, whom it tells what, and what it is like. `gone` is told last, when nothing of it is
  /// left; it may destroy the child in a later event.
  struct Circumstances {
    uv_loop_s& loop;
    Kernel& kernel;
    Onlooker& onlooker;
    Identity identity;
    Nature nature;
    ChildPipes pipes;
    std::function<void(Child&)> gone;
  };
  explicit Child(Circumstances circumstances);
  ~Child() override;

  /// After it has entered its group.
  virtual void start();

  const Identity& identity() const { return identity_; }

  // Process
  void on_signal(int signal) override;
  void on_death(int signal) override;

 protected:
  /// How it calls itself when it is READY.
  virtual std::string own_name() const = 0;
  virtual void on_message(const ToAgent& message) = 0;
  virtual void on_shutdown() = 0;
  /// Nothing of it happens any more.
  virtual void let_go() = 0;
  void take_up() override;

  void say(const FromAgent& message);
  void babble(std::string_view words) { pipes_.out->write(words); }
  void exit(int status, int signal);
  /// One of those that hold its output has ended.
  void one_less();

  Onlooker& onlooker_;
  Identity identity_;
  Nature nature_;

 private:
  void begin();
  void wake();
  void read_input();
  void on_line(std::string_view line);

  ChildPipes pipes_;
  std::function<void(Child&)> gone_;
  LineSplitter lines_{1 << 20};
  Bytes wanted_;  // for itself, at its start
  Schedule::Ticket reading_{};
  bool released_ = false;
};

/// Outlives the process that made it, holds some memory and the output, and dies only when it is killed.
class SecondProcess : public Process {
 public:
  SecondProcess(int number, std::function<void()> died) : Process(number), died_(std::move(died)) {}
  void on_signal(int) override {}
  void on_death(int) override { died_(); }
  void on_room() override {}
  void on_thaw() override {}

 private:
  std::function<void()> died_;
};

}  // namespace kurultai::simulation
