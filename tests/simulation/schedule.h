// The simulated clock: what is to happen, and when. Time stands still while something happens, and jumps to
// the next moment after it. What is due at one moment happens in the order in which it was planned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "protocol/duration.h"

namespace kurultai::simulation {

class Schedule {
 public:
  using Callback = std::function<void()>;
  /// Names one planned event, and is harmless once that has happened.
  struct Ticket {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;  // 0: none
  };

  TimePoint now() const { return now_; }
  Ticket at(TimePoint when, Callback callback);
  Ticket after(TimePoint::duration delay, Callback callback) { return at(now_ + delay, std::move(callback)); }
  void cancel(Ticket ticket);
  bool waits(Ticket ticket) const;

  /// False when nothing is planned.
  bool deliver_next();

  std::uint64_t delivered() const { return delivered_; }
  /// How many since time last passed.
  std::uint64_t delivered_at_once() const { return delivered_at_once_; }

 private:
  struct Planned {
    TimePoint when;
    std::uint64_t order;
    Ticket ticket;
  };
  struct Slot {
    Callback callback;
    std::uint32_t generation = 1;
    bool taken = false;
  };
  static bool later(const Planned& a, const Planned& b);
  void drop_cancelled();
  void free(std::uint32_t slot);

  // Long after zero, which stands for "never" in places.
  TimePoint now_{std::chrono::hours(1000)};
  std::uint64_t last_order_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t delivered_at_once_ = 0;
  std::vector<Planned> heap_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace kurultai::simulation
