// The simulated kernel: memory groups with caps and edges, and the processes inside. It keeps the rules that
// Kurultai relies on (who grows above his edge waits, who grows above his cap is killed, killing takes time,
// memory comes back with the last process; on version 2 who is over his edge is slowed down, and groups can
// stand still and be paged out) and breaks what may break: readings fail or lag, groups cannot be made, edges
// cannot be written. All of it on the loop's schedule.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/memory/controller.h"
#include "tests/simulation/uv.h"

namespace kurultai::simulation {

/// How often things go wrong: one in so many; 0: never.
struct Faults {
  int reading_fails = 0;
  int reading_lags = 0;
  int no_group = 0;
  int edge_refused = 0;
  int slow_death = 0;  // a process takes seconds to die: it hangs in the kernel
  int no_suspension = 0;
  int slow_paging = 0;  // paging out takes up to a minute
  int pinned = 0;       // a part of the memory cannot be paged out
};

struct Level {
  bool edges = true;   // false: as where there are no cgroups
  bool events = true;  // wakes us at marks
  /// As on version 2: who is over his edge is slowed down, and to raise it wakes nobody.
  bool slows = false;
  Bytes swap;  // for groups that stand still; only where it slows
};

class Kernel;
struct Group;

/// A process as its group sees it.
class Process {
 public:
  explicit Process(int number) : pid(number) {}
  virtual ~Process() = default;
  virtual void on_signal(int signal) = 0;  // not SIGKILL
  virtual void on_death(int signal) = 0;   // it is gone; its memory too
  virtual void on_room() = 0;              // it waits at its edge no longer
  virtual void on_thaw() = 0;              // its group stands still no longer

  const int pid;
  Group* group = nullptr;
  Bytes memory;
  Bytes swapped;             // what else it holds, not charged to its group
  bool dying = false;        // SIGKILL was sent
  bool waits = false;        // at the edge of its group: it does nothing else meanwhile
  Schedule::Ticket sleep{};  // where it is slowed down: until then
};

struct Group {
  std::string name;
  GroupLimits limits;
  Bytes edge;
  Bytes charge;
  Bytes cache;  // of the charge: what the kernel can take back
  Bytes files;  // of the charge: files in memory, which outlive their writer
  Bytes high_water;
  std::uint64_t oom_kills = 0;
  int oom_descriptor = -1;
  TimePoint beyond_since{};  // its edge, by growing
  bool frozen = false;
  std::uint64_t freezes = 0;
  bool paging = false;  // since it was frozen: the paging out is not over
  std::vector<Process*> inside;

  bool waits() const;
  /// Of its processes, in memory and in swap.
  Bytes held() const;
  /// Growth stops here; at the cap it ends there.
  Bytes ceiling() const { return std::min(edge, limits.memory); }
};

class Kernel : public Controller {
 public:
  Kernel(uv_loop_s& loop, Level level, Faults faults) : loop_(loop), level_(level), faults_(faults) {}

  // What processes do.
  void enter(const std::string& group, Process& process);
  /// What it got; less than `wanted`: it waits at its edge until on_room, or it was killed.
  Bytes grow(Process& process, Bytes wanted);
  /// The same, out of swap.
  Bytes read_back(Process& process, Bytes wanted);
  void shrink(Process& process, Bytes less);
  void read_files(Process& process, Bytes cache);
  void write_files(Process& process, Bytes files);
  /// It has ended by itself: what it held comes back.
  void leave(Process& process);
  /// By SIGKILL; it takes its time.
  void kill(Process& process);

  // What the invariants look at.
  const std::map<std::string, std::unique_ptr<Group>>& groups() const { return groups_; }
  Bytes charged() const { return charged_; }
  Bytes stray() const { return stray_; }
  std::uint64_t parent_kills() const { return parent_kills_; }
  /// Where it slows: since when somebody has been beyond his edge, now() when nobody is.
  TimePoint beyond_since() const;
  std::uint64_t oom_kills() const { return oom_kills_; }
  /// How often somebody had to wait at an edge.
  std::uint64_t waits() const { return waits_; }
  Bytes workers_limit() const { return workers_limit_; }
  Bytes swap_used() const { return swap_used_; }
  std::uint64_t suspensions() const { return suspensions_; }
  bool slows() const { return level_.slows; }
  /// The last time that no group was made though one was asked for.
  TimePoint no_group_at() const { return no_group_at_; }
  /// The last time that an edge could not be written.
  TimePoint edge_refused_at() const { return edge_refused_at_; }
  /// The last time that a reading was an old one.
  TimePoint lagged_at() const { return lagged_at_; }
  /// Is told of kills for a group's own cap.
  void on_cap_kill(std::function<void(const Group&)> callback) { on_cap_kill_ = std::move(callback); }
  /// From now on nothing fails.
  void calm() { faults_ = {}; }

  // Controller
  Guarantee guarantee() const override {
    if (level_.slows) return Guarantee::cgroup2;
    return level_.edges ? Guarantee::cgroup1 : Guarantee::rlimit;
  }
  std::string explanation() const override { return "simulated"; }
  Result<std::unique_ptr<WorkerGroup>> make_group(const std::string& name, GroupLimits limits) override;
  Result<void> set_workers_limit(Bytes limit) override;
  bool has_edges() const override { return level_.edges; }
  Bytes overrun() const override { return level_.slows ? mebibytes(4) : Bytes{}; }
  std::function<void()> reclaim_job(Bytes wanted) const override;
  Bytes free_swap() const override { return level_.swap - swap_used_; }
  bool slow() const override { return !level_.edges; }
  std::function<Result<WorkersReading>()> reading_job(bool each_group) const override;
  std::function<Result<std::chrono::microseconds>()> cpu_job() const override;
  Result<int> watch(const std::vector<Bytes>& marks) override;
  std::vector<std::string> group_paths() const override { return {}; }

 private:
  friend class SimulatedGroup;
  void charge(Group& group, Bytes more);
  bool has_room(const Group& group, Bytes more) const;
  void take_cache(Group& group, Bytes wanted);
  Bytes past_edge(const Group& group, Bytes wanted, Duration sleep) const;
  void slow_down(Process& process, Duration sleep);
  void kill_for_cap(Group& group, Process& process);
  void kill_for_parent();
  void free(Process& process);
  void remove(const std::string& name);
  void look_at_marks();
  Result<bool> kill_all(Group& group);
  Result<void> set_edge(Group& group, Bytes edge);
  bool waits_at_edge(const Group& group) const;
  Result<void> suspend(Group& group);
  void resume(Group& group);
  std::function<void()> page_out_job(const Group& group);
  void page_out(const std::string& name, Bytes most);
  void leave_swap(Process& process, Bytes bytes);
  Result<WorkersReading> read();
  WorkersReading reading_now() const;

  uv_loop_s& loop_;
  Level level_;
  Faults faults_;
  std::map<std::string, std::unique_ptr<Group>> groups_;
  Bytes charged_;  // to all groups, and to none of them
  Bytes stray_;    // of that, to none of them
  Bytes swap_used_;
  Bytes workers_limit_{INT64_MAX};
  std::vector<Bytes> marks_;
  std::size_t marks_below_ = 0;
  int marks_descriptor_ = -1;
  WorkersReading last_;  // for readings that lag
  std::uint64_t parent_kills_ = 0;
  std::uint64_t oom_kills_ = 0;
  std::uint64_t waits_ = 0;
  std::uint64_t suspensions_ = 0;
  TimePoint no_group_at_{};
  TimePoint edge_refused_at_{};
  TimePoint lagged_at_{};
  std::function<void(const Group&)> on_cap_kill_;
};

}  // namespace kurultai::simulation
