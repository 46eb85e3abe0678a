// One run of one seed: the real dispatcher, governor, pool, grants and monitor on a simulated loop, kernel
// and agents, with somebody who asks for things, until all has come to its end.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/backstop.h"
#include "supervisor/dispatcher.h"
#include "supervisor/monitor.h"
#include "tests/simulation/child.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/findings.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/kernel.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/workload.h"

namespace kurultai::simulation {

struct Outcome {
  std::optional<Violation> violation;
  std::uint64_t steps = 0;
  std::size_t actions = 0;  // whose turn came
  std::size_t acted = 0;    // of those, that were not left out
  Ledger::Counts counts;
  std::uint64_t decisions = 0;  // with a receipt
  std::uint64_t foreseen = 0;   // of these
  std::uint64_t oom_kills = 0;
  std::uint64_t waits = 0;  // at edges
  std::uint64_t drains = 0;
  std::uint64_t suspensions = 0;  // of groups
  std::vector<std::string> trace;
};

class World : public Onlooker {
 public:
  World(const Plan& plan, bool traces);
  ~World() override;
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Outcome run();

 private:
  // Onlooker
  Part task_came(const Child& child, const TaskMessage& task) override;
  void task_came_twice(const Child& child, const std::string& task_id) override;
  bool is_given(const Child& child, const std::string& task_id) const override;
  void preempt_came(const Child& child, const std::string& task_id) override;
  void said(const Child& child, const FromAgent& message) override;
  void went_wrong(const Child& child, const char* how) override;

  Result<Launched> launch(const uv::SpawnOptions& options);
  void told(const Event& event);
  void is_on_disk(const TaskEvent& event);
  void plan_action();
  void act(std::size_t number);
  void carry_out(Submission submission);
  void carry_out(CancelOne cancel);
  void carry_out(const Reload& reload);
  void apply_limit();
  void after_step();
  void drain();
  void close();
  Outcome outcome();

  Plan plan_;
  Setting setting_;
  uv::Loop loop_;
  uv_loop_s& raw_;
  Findings findings_;
  Kernel kernel_;
  Ledger ledger_;
  std::shared_ptr<const Config> config_;
  std::map<int, std::unique_ptr<Child>> children_;
  int last_pid_ = 1000;
  Events events_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<Invariants> invariants_;
  std::unique_ptr<Backstop> backstop_;
  std::unique_ptr<uv::Timer> hurry_;
  std::vector<std::string> submitted_;
  std::size_t next_action_ = 0;
  std::size_t actions_ = 0;
  enum class Phase : unsigned char { asking, settling, draining, drained, over } phase_ = Phase::asking;
  std::uint64_t drains_ = 0;
  std::uint64_t decisions_ = 0;
  std::uint64_t foreseen_ = 0;
};

}  // namespace kurultai::simulation
