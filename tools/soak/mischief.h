// Chaos: what is done to a kurultaid that should bear it. Each kind comes at random moments, so often on
// average as the profile says. One thread.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "tools/bench/dice.h"
#include "tools/bench/kurultaid.h"
#include "tools/kurultai/http.h"
#include "tools/soak/agents.h"
#include "tools/soak/ledger.h"
#include "tools/soak/outcome.h"
#include "tools/soak/profile.h"

namespace kurultai::soak {

/// What it is done to; outlives the chaos.
struct Prey {
  bench::Kurultaid& kurultaid;
  Ledger& ledger;
  Outcome& outcome;
  std::function<void(Request, Http::Done)> ask;
  std::function<void(const TaskKind&, int)> submit;  // so many, now
  std::function<void()> crash;
};

class Chaos {
 public:
  Chaos(const Profile& profile, const std::vector<TaskKind>& kinds, Config config, std::uint64_t seed,
        Prey prey);

  /// From now on.
  void begin(TimePoint now);
  /// Does what is due.
  void turn(TimePoint now);
  /// The configuration that was there before it.
  void restore_configuration() const;

 private:
  void act(Mischief what);
  void kill_worker();
  void cancel();
  void preempt();
  void burst();
  void malformed();
  void reload();
  Config changed();
  void expect(Request request, std::string what, const std::function<bool(int)>& is_right);
  TimePoint next(Mischief what, TimePoint now);

  const Profile& profile_;
  const std::vector<TaskKind>& kinds_;
  Config config_;
  bench::Dice dice_;
  Prey prey_;
  std::array<TimePoint, mischief_names.size()> due_{};
  bool is_reloading_ = false;
};

}  // namespace kurultai::soak
