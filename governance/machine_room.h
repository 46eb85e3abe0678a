// How much of the configured budget the machine, or the container we are in, can really give. Others use it
// too: what they take is not there for us, whatever was configured, and whoever does not give way in time
// leaves the choice to the kernel. Pure: readings and the time go in, the budget in effect comes out.
#pragma once

#include <optional>
#include <string>

#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

/// MemTotal and MemAvailable of /proc/meminfo (Documentation/filesystems/proc.rst): what could be had without
/// swapping, page cache that can be reclaimed included. Of a group that ours lie in, where that has less: its
/// limit, and what is left below it.
struct MachineReading {
  Bytes total;
  Bytes available;
  std::string group = {};  // whose `available` that is; empty: the machine's own
};

/// `memory.machine_reserve: auto`: a sixteenth of the machine, from 32 MiB to 1 GiB. What comes between two
/// readings has to fit into it.
Bytes usual_machine_reserve(Bytes total);

/// How soon to look at the machine again. Touching memory runs at 2 GB/s (measured): before half of what is
/// available can be gone, and 10 ms at the soonest. Above 8 GiB a second or more.
Duration next_machine_look_in(Bytes available);

class MachineRoom {
 public:
  struct Settings {
    Bytes budget;  // as configured
    /// That is left to others. 0: the machine is not looked at, and the budget is as configured.
    Bytes reserve = {};
  };

  explicit MachineRoom(Settings settings) { configure(settings); }

  /// Takes effect at once; what the machine gives is what it was at the last reading.
  void configure(Settings settings);

  /// `held`: what we use and the kernel could not take back by itself, read at the same moment. Returns the
  /// budget in effect, the least of
  ///   - what is configured
  ///   - what we hold and what is available beyond the reserve.
  /// What we take or give back ourselves does not change that sum. It falls at once, by steps of a 64th of
  /// what is configured or there at all (4 MiB at least), and rises to what there has been for `hold` all the
  /// time: others come and go in waves. Never below `least`.
  Bytes update(Bytes held, const MachineReading& machine, TimePoint now);

  Bytes budget() const;
  Bytes configured() const { return settings_.budget; }
  Bytes reserve() const { return settings_.reserve; }
  /// Whether it is the machine that sets the budget.
  bool is_limited() const { return budget() < settings_.budget; }

  static constexpr Bytes least = mebibytes(16);
  static constexpr Duration hold{3000};

 private:
  Bytes step(Bytes total) const;

  Settings settings_;
  std::optional<Bytes> room_;  // that counts; absent: the machine was not looked at
  Bytes lowest_;               // since when
  TimePoint since_;
};

}  // namespace kurultai
