// What must hold whatever happens, one function each. They look from outside: at the kernel's own figures, at
// what agents saw, and at the dispatcher's public face.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "supervisor/dispatcher.h"
#include "tests/simulation/kernel.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/standstill.h"

namespace kurultai::simulation {

class Invariants {
 public:
  Invariants(Findings& findings, const Scene& scene)
      : findings_(findings), at_(scene), standstill_(findings, scene) {}

  void after_step();
  /// The dispatcher has just acted upon it.
  void after_reading(const MemorySnapshot& snapshot);
  /// Of what all workers may hold.
  void total_changes(Bytes total);
  /// The agent got PREEMPT.
  void preempt_came(const std::string& agent, const std::string& task_id);
  /// A worker was.
  void spawned();
  /// It gave way, and is back in the queue.
  void sent_back(const Task& task);
  void suspended(const Task& task) { standstill_.suspended(task); }
  void resumed(const Task& task) { standstill_.resumed(task); }
  /// Everything is over, the dispatcher included.
  static void at_end(Findings& findings, const uv_loop_s& loop, const Kernel& kernel, const Ledger& ledger);

  std::uint64_t decisions() const { return seen_.size(); }
  std::uint64_t foreseen() const { return foreseen_; }  // of these

 private:
  /// A bound that was lowered below what there is: that may stay, but not grow.
  struct Bound {
    std::int64_t limit = 0;
    std::int64_t allowed = 0;
    bool holds(std::int64_t value) {
      if (value > allowed) return false;
      allowed = std::max(limit, value);
      return true;
    }
    void set(std::int64_t to, std::int64_t value) {
      limit = to;
      allowed = std::max(limit, value);
    }
  };
  /// Memory that a decision waits for.
  struct Awaited {
    std::string task;
    std::string group;
    Bytes memory;
    TimePoint until;
    bool killed;
    std::uint64_t freeze;  // of its group; 0: it was not suspended
  };
  struct Sacrifice {
    std::string for_task;
    TimePoint decided;
  };

  // Named as they are reported.
  void depth();
  void priority();
  void no_lost_task();
  void nobody_late(const Fate& fate);
  void budget_held();
  void no_livelock();
  void somebody_gives_way();
  void same_again(const Receipt& receipt);
  void well_foreseen(const Receipt& receipt);
  void no_second_kill(const Receipt& receipt, const std::vector<std::string>& workers);
  void no_needless_kill(const Receipt& receipt);
  void lowest_first(const Receipt& receipt);
  void nobody_protected(const Receipt& receipt);

  Bytes held() const;
  std::vector<std::shared_ptr<const Receipt>> decided_now();
  Bytes awaited(const Receipt& receipt);
  bool is_coming_back(const Worker& worker, const Receipt& receipt) const;
  void await(const Receipt& receipt, const std::vector<std::string>& workers);
  std::string groups() const;
  std::string names_of_awaited() const;
  bool is_ending(const Fate& fate) const;
  bool keeps_failing(const std::string& agent) const;
  bool may_be_passed(const Fate& waiting, const Fate& started) const;
  void check_passed(const std::vector<const Fate*>& before, const std::vector<const Fate*>& now);
  void check_returned(const std::vector<const Fate*>& now);
  void not_under_pressure(const Fate& started);
  void not_in_vain(const Fate& started, const std::vector<const Fate*>& now);
  bool could_start(const Task& task) const;
  std::string worker_of(const std::string& task_id) const;
  std::string name(const std::string& task_id) const;

  Findings& findings_;
  Scene at_;
  Standstill standstill_;
  std::uint64_t steps_ = 0;
  std::uint64_t movements_ = 0;
  std::size_t waiting_count_ = 0;
  std::vector<const Fate*> waiting_;  // in order of service, after the step before
  Bound depth_;
  std::size_t max_depth_ = 0;
  Bound budget_;
  bool total_known_ = false;
  TimePoint could_start_since_{};
  std::string could_start_;
  std::set<std::string> seen_;  // ids of receipts
  std::uint64_t foreseen_ = 0;
  std::set<std::string> left_early_;  // tasks
  std::vector<Awaited> awaited_;
  std::map<std::string, Sacrifice> sacrificed_;   // by task: it gave way so that another could start
  std::map<std::string, TimePoint> waits_since_;  // at their edges, by worker
};

}  // namespace kurultai::simulation
