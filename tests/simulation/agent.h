// A simulated agent that speaks for itself. It does what its Nature and the Whims of its tasks say.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/simulation/child.h"

namespace kurultai::simulation {

class Agent : public Child {
 public:
  using Child::Child;

  void start() override;

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

  std::string own_name() const override { return identity_.name; }
  void on_message(const ToAgent& message) override;
  void on_shutdown() override;
  void let_go() override;
  void take_up() override;

  void hear(const TaskMessage& task);
  void hear(const Cancel& cancel);
  void hear(const Preempt& preempt);
  void hear(const PressureHint& hint);
  void hear(const Ping& ping);
  void hear(const Shutdown&) { on_shutdown(); }
  template <typename Other>
  void hear(const Other&) {}

  void plan(const std::string& task_id, Duration in);
  void work_on(const std::string& task_id);
  void grow(const std::string& task_id, Work& work, Bytes step);
  void report(const std::string& task_id, Work& work);
  void end_work(const std::string& task_id, Work& work);
  void answer_preempt(const std::string& task_id);
  void answer(const std::string& task_id, const FromAgent& message);

  std::map<std::string, Work> works_;
  Bytes wanted_;  // what it waits for at its edge
  std::string waiting_task_;
  std::unique_ptr<Process> helper_;
};

}  // namespace kurultai::simulation
