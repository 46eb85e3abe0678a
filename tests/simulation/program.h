// A simulated process with one thread: while it waits at the edge of its group, or its group stands still, it
// does nothing, and what came due meanwhile it does afterwards. What is in swap it reads back before it goes
// on.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "tests/simulation/kernel.h"

namespace kurultai::simulation {

class Program : public Process {
 public:
  Program(uv_loop_s& loop, Kernel& kernel, int number) : Process(number), loop_(loop), kernel_(kernel) {}

  // Process
  void on_room() override;
  void on_thaw() override;

 protected:
  /// What it wanted when it had to wait.
  virtual void take_up() = 0;

  bool is_over() const { return ended_ || dying; }
  /// Whatever is to be done now has to be postponed.
  bool stands() const { return !is_over() && (waits || goes_on_soon_ || group->frozen); }
  /// An action of its own: one that comes due while it stands is made up for later, one after its end never.
  Schedule::Ticket later(Duration in, std::function<void()> action);
  void postpone(std::function<void()> action) { postponed_.push_back(std::move(action)); }
  /// It has ended, by itself or not.
  void end() { ended_ = true; }
  bool has_ended() const { return ended_; }
  /// It ends by itself.
  bool leave();

  uv_loop_s& loop_;
  Kernel& kernel_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

 private:
  void go_on_in(Duration delay);
  void go_on();

  std::vector<std::function<void()>> postponed_;
  Bytes returning_;            // out of swap
  bool goes_on_soon_ = false;  // it was woken
  Schedule::Ticket going_on_{};
  bool ended_ = false;
};

}  // namespace kurultai::simulation
