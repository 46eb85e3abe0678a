// How often an agent's workers may come back after abnormal ends: at most `max_per_hour` in any sliding hour,
// and after each one in a row a longer pause (1, 2, 4, 8 … up to 60 s); a worker that served a task clears
// the row.
#pragma once

#include <deque>

#include "protocol/duration.h"

namespace kurultai {

class RestartBudget {
 public:
  explicit RestartBudget(int max_per_hour) { set_max_per_hour(max_per_hour); }

  void abnormal_end(TimePoint now);
  void served() { row_ = 0; }

  /// When the next worker may be started: `now` or earlier means at once.
  TimePoint ready_at(TimePoint now) const;
  /// Whether the hour's budget is used up (then ready_at is when the oldest end leaves the hour).
  bool exhausted(TimePoint now) const;
  /// A smaller number counts the ends that were seen already, a larger one can only count those to come.
  void set_max_per_hour(int max);

 private:
  void keep_newest();

  int max_per_hour_ = 0;
  int row_ = 0;
  std::deque<TimePoint> ends_;  // ascending; never more than max_per_hour_ + 1
};

}  // namespace kurultai
