// What must hold of workers that stand still, their memory in swap: nobody of them is forgotten, passed or
// taken for smaller than he is, and the swap is there before they are stopped.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "supervisor/dispatcher.h"
#include "tests/simulation/kernel.h"
#include "tests/simulation/ledger.h"

namespace kurultai::simulation {

/// What invariants look at.
struct Scene {
  const uv_loop_s& loop;
  const Dispatcher& dispatcher;
  const Kernel& kernel;
  const Ledger& ledger;
};

class Standstill {
 public:
  Standstill(Findings& findings, const Scene& scene) : findings_(findings), at_(scene) {}

  void after_step();
  void after_reading(const MemorySnapshot& snapshot);
  /// Of a receipt, before any memory has moved; the workers of its victims.
  void decided(const Receipt& receipt, const std::vector<std::string>& workers);
  /// The dispatcher has just said so.
  void suspended(const Task& task);
  void resumed(const Task& task);
  /// Whether somebody stands still who must not be passed by a task of this priority.
  bool outranks(Priority priority) const;
  /// What workers that have just gone on may still read back, and nobody else can have.
  Bytes promised() const;

 private:
  struct Stopped {
    TimePoint since;
    Bytes size;  // as far as the supervisor knew
    TimePoint resumed_at{};
  };

  const Worker* worker(const std::string& id) const;
  const Group* group(const std::string& id) const;
  void nobody_forgotten(const Suspended& entry);
  void known(const Worker& worker);
  void goes_on_in_time();
  bool may_go_on(const Suspended& entry) const;
  void longest_first(const Worker& resumed, const Stopped& stopped);
  void has_room(const Worker& resumed, const Stopped& stopped);

  Findings& findings_;
  Scene at_;
  std::map<std::string, Stopped> stopped_;  // by worker; also those that went on
  Bytes used_;                              // and of what, at the last reading
  Bytes line_;
  std::string due_;  // could go on
  TimePoint due_since_{};
};

}  // namespace kurultai::simulation
