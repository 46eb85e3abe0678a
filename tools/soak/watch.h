// What a kurultaid and its workers hold, looked at from outside: memory out of /proc, descriptors, groups.
// One thread.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "governance/leak_series.h"
#include "governance/leak_slope.h"
#include "protocol/duration.h"
#include "tools/soak/reservoir.h"

namespace kurultai::soak {

/// The memory of a run, in bounded room.
class MemoryWatch {
 public:
  /// Growth is judged from `judged_from` on. What comes after `end` is drawn, and does not count.
  MemoryWatch(TimePoint begin, TimePoint judged_from, TimePoint end)
      : begin_(begin), judged_from_(judged_from), end_(end) {}

  /// Looks once; nothing when the process has gone.
  void look(pid_t supervisor, TimePoint now);

  const Reservoir& supervisor() const { return supervisor_; }  // RSS, bytes
  const Reservoir& tree() const { return tree_; }              // with all descendants, bytes
  const LeakSeries& supervisor_curve() const { return supervisor_curve_; }
  const LeakSeries& tree_curve() const { return tree_curve_; }
  /// Of the supervisor that lived longest.
  LeakSlope slope() const;
  /// The latest look, bytes.
  double latest_supervisor() const { return supervisor_curve_.latest(); }
  double latest_tree() const { return tree_curve_.latest(); }

 private:
  TimePoint begin_;
  TimePoint judged_from_;
  TimePoint end_;
  pid_t judged_ = 0;
  Reservoir supervisor_, tree_;
  LeakSeries supervisor_curve_, tree_curve_;
  LeakSeries life_, longest_life_;
};

/// Open descriptors of a process.
std::int64_t count_fds(pid_t process);

/// Groups below these, at any depth.
std::int64_t count_groups(const std::vector<std::string>& parents);

/// Processes that carry the mark of this instance.
std::vector<pid_t> marked_processes(const std::string& instance);
bool is_marked(pid_t process, const std::string& instance);

}  // namespace kurultai::soak
