// What really happened to each task, from both sides: what the dispatcher told in its events, and what the
// simulated agents saw and did. The invariants compare the two.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/config.h"
#include "supervisor/events.h"
#include "supervisor/task.h"
#include "tests/simulation/findings.h"

namespace kurultai::simulation {

struct Fate {
  std::uint64_t number;  // of its submission: what it is called in traces
  std::string id;
  std::string agent;
  Priority priority;
  int retries;
  Duration timeout;
  bool idempotent;
  int max_preemptions;

  TaskState state = TaskState::queued;
  int attempt = 1;
  int preemptions = 0;
  int starts = 0;            // that the dispatcher told of
  int arrivals = 0;          // that agents saw
  std::uint64_t run = 0;     // the newest that an agent saw
  std::string worker{};      // that has it now
  TimePoint since{};         // when that run began, less the time that it stood still
  TimePoint stands_since{};  // it is suspended
  bool own_fault = false;    // something that costs an attempt came about in this run
  bool gave_way = false;     // its agent has answered PREEMPTED in this run
  bool cancelled = false;    // that was asked for, and accepted
  TimePoint sent_back_at{};  // the last time
  int sent_back_at_once = 0;
  bool returned = false;  // it came back to the queue in this very step
  bool is_open() const { return !is_final(state); }
};

class Ledger {
 public:
  Ledger(Findings& findings, const uv_loop_s& loop) : findings_(findings), loop_(loop) {}

  /// What counts from now on for tasks to come.
  void configure(std::shared_ptr<const Config> config) { config_ = std::move(config); }
  void begin_step();

  // What agents see and do.
  std::uint64_t task_came(const std::string& worker, const std::string& task_id, int attempt);
  void answered(const std::string& task_id, bool gave_way);
  void went_wrong(const std::string& worker, const std::string& agent);
  // What clients do.
  void cancelled(const std::string& task_id);
  // What the dispatcher tells.
  void on_event(const Event& event);

  const Fate* find(const std::string& task_id) const;
  std::size_t open() const { return open_; }
  /// Those that came back to the queue in this step.
  const std::vector<Fate*>& returned() const { return returned_; }
  /// Tasks whose state changed, and workers that came or went, ever.
  std::uint64_t movements() const { return movements_; }
  TimePoint moved_at() const { return moved_at_; }
  /// When workers of this agent last ended in a way that delays the next.
  TimePoint last_bad_end(const std::string& agent) const;
  const std::unordered_map<std::string, Fate>& fates() const { return fates_; }

  struct Counts {
    std::uint64_t submitted = 0, refused = 0, starts = 0, preempted = 0, killed = 0, retried = 0,
                  completed = 0, failed = 0, cancelled = 0, evicted = 0, workers = 0, resumed = 0,
                  commands = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  void on_task(const TaskEvent& event);
  void on_worker(const WorkerEvent& event);
  void queued(Fate& fate, const TaskEvent& event);
  void started(Fate& fate, const Task& task);
  void sent_back(Fate& fate, const TaskEvent& event);
  void stopped(Fate& fate);
  void went_on(Fate& fate);
  TimePoint::duration time_of(const Fate& fate) const;  // that it has run
  void check_time(const Fate& fate, const Task& task);
  void ended(Fate& fate, const TaskEvent& event);
  void check_attempts(const Fate& fate, const Task& task);
  bool has_own_fault(const Fate& fate) const;
  Fate& open_fate(const Task& task);
  std::string name(const Fate& fate) const { return "task " + std::to_string(fate.number); }

  Findings& findings_;
  const uv_loop_s& loop_;
  std::shared_ptr<const Config> config_;
  std::unordered_map<std::string, Fate> fates_;
  std::map<std::string, TimePoint> bad_starts_;  // by agent: what its own workers did wrong
  std::map<std::string, TimePoint> bad_ends_;
  std::set<std::string> wrong_workers_;  // that did wrong themselves: whoever is with them goes with them
  struct Start {
    std::string agent;
    TimePoint since;
  };
  std::map<std::string, Start> starting_;  // by worker
  std::vector<Fate*> returned_;
  std::size_t open_ = 0;
  std::uint64_t movements_ = 0;
  TimePoint moved_at_{};
  std::uint64_t runs_ = 0;
  Counts counts_;
};

}  // namespace kurultai::simulation
