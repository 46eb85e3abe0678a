// Reads memory: when the kernel says that a mark was crossed, and as often as the pace of what is used asks
// for. Each good reading becomes a snapshot and is given on; a failed one is said so and retried, never taken
// for zero.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "supervisor/memory/controller.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

/// REQUIREMENTS K1.
struct MemorySnapshot {
  WallTime at;
  Bytes budget;      // in effect
  Bytes configured;  // budget that the machine may not be able to give
  Bytes used;        // supervisor + workers: what thresholds are about
  Bytes supervisor_rss;
  Bytes heap_used, heap_total;  // the supervisor's own allocator
  WorkersReading workers;
  std::optional<MachineReading> machine;  // where it is looked at
  double ratio() const {
    return budget.count > 0 ? static_cast<double>(used.count) / static_cast<double>(budget.count) : 0;
  }
};

class Monitor {
 public:
  struct Settings {
    Bytes budget;
    Thresholds thresholds;
    Duration slow_tick;
    Duration longest_reading{3000};                  // on its thread; beyond it something is wrong
    std::optional<Bytes> machine_reserve = Bytes{};  // governance/machine_room.h; none: the usual one
    std::string proc_root = "/proc";
  };
  /// What the workers are up to, for the pace.
  struct Activity {
    int workers = 0;
    bool busy = false;
    std::optional<Bytes> lowest_warning;  // of the workers that are not yet above theirs
  };

  Monitor(uv::Loop& loop, Controller& controller, const Settings& settings,
          std::function<Activity()> activity, std::function<void(const MemorySnapshot&)> on_reading);

  void start();
  void stop();
  void configure(Settings settings);

  /// A reading soon, because memory changed hands (a worker came or went).
  void nudge();
  /// From now on readings come as often as peaks of running tasks need; the first is not hurried, since most
  /// tasks that are over before it cost less than it does.
  void task_began();
  /// A reading now, where that takes microseconds (cgroups); the last one otherwise.
  Result<MemorySnapshot> read_now();

  const MemorySnapshot& last() const { return last_; }
  /// Empty while readings succeed; else the failure, or that the one under way does not end.
  const std::string& trouble() const { return trouble_; }
  /// The same of the machine: the budget stays as it was then.
  const std::string& machine_trouble() const { return machine_trouble_; }
  const MachineRoom& machine_room() const { return room_; }
  /// How often the kernel said that tasks on the machine stood still for want of memory; always 0 where it
  /// does not say so.
  std::uint64_t stalls() const { return stalls_; }

 private:
  void read();
  void take(Result<WorkersReading> reading);
  void schedule();
  void read_in(Duration wait);
  std::vector<Bytes> marks() const;
  void set_marks();
  void watch_marks(int fd);
  void watch_stalls();
  Result<MemorySnapshot> complete(WorkersReading reading) const;
  MachineRoom::Settings room_settings() const;
  Result<MachineReading> read_surroundings() const;
  std::optional<MachineReading> look_at_machine();
  void fit_into_machine(MemorySnapshot& snapshot);

  uv::Loop& loop_;
  Controller& controller_;
  Settings settings_;
  MachineRoom room_;
  std::optional<MachineReading> machine_before_;  // the reading that is under way on a thread
  std::function<Activity()> activity_;
  std::function<void(const MemorySnapshot&)> on_reading_;
  uv::Timer timer_;
  uv::Timer overdue_;
  std::unique_ptr<uv::FdWatch> marks_watch_;
  Fd stall_file_;
  std::unique_ptr<uv::FdWatch> stall_watch_;
  std::uint64_t stalls_ = 0;
  bool setting_marks_ = false;  // on a thread
  bool marks_are_old_ = false;  // they changed meanwhile
  bool kernel_events_ = false;
  bool reading_ = false;  // one is under way on a thread
  bool running_ = false;
  TimePoint next_{};  // reading
  MemorySnapshot last_;
  std::string trouble_;
  std::string machine_trouble_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kurultai
