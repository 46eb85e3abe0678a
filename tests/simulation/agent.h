// A simulated agent: a process in a memory group that speaks the agent protocol, version 1, through the real
// codec, over simulated pipes. It does what its Nature and the Whims of its tasks say. Like a program with
// one thread it does nothing while it waits at the edge of its group.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/line_splitter.h"
#include "protocol/messages.h"
#include "tests/simulation/kernel.h"
#include "tests/simulation/whim.h"

namespace kurultai::simulation {

class Agent;

/// Is told what agents see and do, and decides what the next task is like.
class Onlooker {
 public:
  virtual ~Onlooker() = default;
  struct Part {
    std::uint64_t run;  // unique among all runs
    Whim whim;
  };
  virtual Part task_came(const Agent& agent, const TaskMessage& task) = 0;
  virtual void task_came_twice(const Agent& agent, const std::string& task_id) = 0;
  /// Whether the supervisor takes it to have this task: a late word of an earlier run would be believed.
  virtual bool is_given(const Agent& agent, const std::string& task_id) const = 0;
  virtual void preempt_came(const Agent& agent, const std::string& task_id) = 0;
  virtual void said(const Agent& agent, const FromAgent& message) = 0;
  /// It ended, or broke the protocol, by its own doing.
  virtual void went_wrong(const Agent& agent, const char* how) = 0;
};

/// The agent's ends of its pipes.
struct AgentPipes {
  std::shared_ptr<Pipe> in = std::make_shared<Pipe>();
  std::shared_ptr<Pipe> out = std::make_shared<Pipe>();
  std::shared_ptr<Pipe> err = std::make_shared<Pipe>();
};

class Agent : public Process {
 public:
  struct Identity {
    int pid;
    std::string worker;
    std::string name;  // of the configured agent
  };
  /// `gone` is told last, when nothing of it is left; it may destroy the agent in a later event.
  Agent(uv_loop_s& loop, Kernel& kernel, Onlooker& onlooker, Identity identity, Nature nature,
        AgentPipes pipes, std::function<void(Agent&)> gone);
  ~Agent() override;

  /// After it has entered its group.
  void start();

  const Identity& identity() const { return identity_; }
  bool holds_output() const { return !released_; }

  // Process
  void on_signal(int signal) override;
  void on_death(int signal) override;
  void on_room() override;

 private:
  struct Work {
    Whim whim;
    std::uint64_t run;
    TimePoint began{};  // its work, having grown; zero: it still grows
    Bytes grown{};
    double progress = 0;
    Schedule::Ticket ticket{};
    bool stopping = false;
  };

  bool is_over() const { return ended_ || dying; }
  void say(const FromAgent& message);
  void wake();
  void read_input();
  void on_line(std::string_view line);
  void on_message(const TaskMessage& task);
  void on_message(const Cancel& cancel);
  void on_message(const Preempt& preempt);
  void on_message(const PressureHint& hint);
  void on_message(const Ping& ping);
  void on_message(const Shutdown& shutdown);
  template <typename Other>
  void on_message(const Other&) {}

  void plan(const std::string& task_id, Duration in);
  void work_on(const std::string& task_id);
  void grow(const std::string& task_id, Work& work);
  void report(const std::string& task_id, Work& work);
  void end_work(const std::string& task_id, Work& work);
  void answer_preempt(const std::string& task_id);
  void answer(const std::string& task_id, const FromAgent& message);
  void later(Duration in, std::function<void()> action);
  void exit(int status, int signal);
  void release_output();

  uv_loop_s& loop_;
  Kernel& kernel_;
  Onlooker& onlooker_;
  Identity identity_;
  Nature nature_;
  AgentPipes pipes_;
  std::function<void(Agent&)> gone_;
  LineSplitter lines_{1 << 20};
  std::map<std::string, Work> works_;
  Bytes wanted_;  // what it waits for at its edge
  std::string waiting_task_;
  std::vector<std::function<void()>> postponed_;  // while it waited
  Schedule::Ticket reading_{};
  bool ended_ = false;
  bool released_ = false;
  std::unique_ptr<Process> helper_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kurultai::simulation
