// Who of the workers is to be asked how it is, when, and what its answers amount to. Checks of one rule are
// spread over its interval, a result holds until the next, and no worker is asked while it still owes an
// answer. Pure; the owner gives the times, does the asking and tells what came of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/duration.h"

namespace kurultai {

enum class HealthStrategy : std::uint8_t {
  passive,  // nobody asks: what is seen of its tasks has to do
  ping,     // PING, while it has no task
  command,  // a program looks at it
};

struct HealthRule {
  HealthStrategy strategy = HealthStrategy::passive;
  Duration interval{30'000};
  Duration timeout{5000};  // at most the interval
  int failures = 3;        // so many in a row, and it is unhealthy
  bool operator==(const HealthRule&) const = default;
};

enum class HealthStatus : std::uint8_t {
  unknown,  // not asked yet, or never
  healthy,
  suspect,    // the last check failed, or its task has been silent for half of what it may
  unhealthy,  // as many in a row as the rule says
};
std::string_view to_string(HealthStatus status);
std::string_view to_string(HealthStrategy strategy);

struct WorkerHealth {
  HealthStatus status = HealthStatus::unknown;
  std::optional<TimePoint> since = {};    // it is so; none: from its start
  std::optional<TimePoint> checked = {};  // when the last result came
  std::chrono::nanoseconds took{};        // until that
  int failures = 0;                       // in a row
  std::string reason = {};                // of the last failure
};

class HealthChecks {
 public:
  /// From now on, or anew under another rule: the first check comes within one interval. Under `passive` it
  /// is forgotten.
  void watch(const std::string& worker, const HealthRule& rule, TimePoint now);
  void forget(const std::string& worker);

  struct Due {
    std::string worker;
    std::optional<std::uint64_t> late = {};  // the check that was not answered in time; else one is to begin
  };
  /// Those whose turn it is, at most `most`, the longest due first. Each is handed out once: the owner calls
  /// begin or skip for who is due, failed or skip for who is late.
  std::vector<Due> take_due(TimePoint now, std::size_t most);
  /// When somebody is due; max() if nobody is.
  TimePoint next() const;

  /// The number of the check that begins now.
  std::uint64_t begin(const std::string& worker, TimePoint now);
  /// Not this time: what was known of it holds on. Also ends a check under way without a result.
  void skip(const std::string& worker, TimePoint now);
  /// False: this is not the check under way, and counts for nothing.
  bool passed(const std::string& worker, std::uint64_t check, TimePoint now);
  bool failed(const std::string& worker, std::uint64_t check, TimePoint now, std::string reason);
  /// It showed by itself that it is well, at `when`: as good as a check that passed then.
  void seen_well(const std::string& worker, TimePoint when, TimePoint now);

  /// When the check under way began.
  std::optional<TimePoint> under_way(const std::string& worker) const;
  /// Null: not watched.
  const WorkerHealth* find(const std::string& worker) const;
  std::size_t size() const { return watched_.size(); }

 private:
  struct Watched {
    HealthRule rule;
    TimePoint slot;                   // its turn in the interval
    std::optional<TimePoint> agenda;  // its place there; none: handed out
    std::optional<TimePoint> began;   // the check under way
    std::uint64_t check = 0;          // its number
    WorkerHealth health;
  };

  void put(const std::string& worker, Watched& watched, TimePoint when);
  void take(const std::string& worker, Watched& watched);
  void put_next(const std::string& worker, Watched& watched, TimePoint now);
  static void enter(WorkerHealth& health, HealthStatus status, TimePoint now);
  Watched* answering(const std::string& worker, std::uint64_t check);

  std::map<std::string, Watched> watched_;
  std::set<std::pair<TimePoint, std::string>> agenda_;
  std::uint64_t checks_ = 0;
  double place_ = 0;  // in the interval, of who came last
};

/// Of one that has tasks, by the age of their progress: the oldest counts. Half of `stall_timeout` (above 0)
/// without any makes it suspect; when all of it is over its task is stopped.
WorkerHealth health_by_progress(TimePoint began, TimePoint progress, Duration stall_timeout, TimePoint now);

}  // namespace kurultai
