// When a refused submission should come again: when its turn would come, had it been let in behind those
// who wait and those who were refused before it. It so loses nothing by waiting outside, and those who were
// refused together do not come back together. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

/// How long a task keeps its slot, from those that have ended.
class ServiceTime {
 public:
  /// The last few count most: 1/8 for each, more after a pause, because what was seen long ago tells little.
  void finished(Duration service, TimePoint now);

  /// `youngest`: for how long the newest of the running tasks has been running. When even that one takes
  /// longer than the observed, they are out of date; with nothing observed twice its age is the best guess.
  Duration expected(Duration youngest) const;

 private:
  double mean_ms_ = 0;
  int count_ = 0;  // up to those that are averaged
  TimePoint last_;
};

/// How long times of one kind last (no new work because of memory), and how much of this one is left.
class Spells {
 public:
  void began(TimePoint now);
  void ended(TimePoint now);

  /// 0 outside of one. `guess`: how long one lasts, where none has ended yet. One that lasts longer than
  /// expected is expected to last as long again, up to a minute.
  Duration left(Duration guess, TimePoint now) const;

 private:
  std::optional<TimePoint> since_;
  ServiceTime lengths_;
  bool any_ = false;
};

class Turns {
 public:
  /// The place where a submission would stand.
  struct Line {
    std::size_t ahead;     // waiting tasks that are served before it
    std::size_t free;      // places in the queue that it could have, once it is open
    std::size_t places;    // and in an empty queue
    std::size_t parallel;  // tasks that run side by side
    Duration service;      // of one of them
    Duration closed{};     // nobody is let in before that
  };

  /// Whole seconds, 1 to 3600. Those who were promised an earlier turn and are not more than
  /// `line.places` at once come first.
  std::chrono::seconds expected(const Line& line, Priority priority, TimePoint now) const;

  /// As `expected`, and kept for those who are refused after it, until it is over. Of each priority at most
  /// `most_promises` are kept: who comes again before its time is taken for another, and must not put off
  /// all others without end.
  std::chrono::seconds promise(const Line& line, Priority priority, TimePoint now);

  static std::size_t most_promises(const Line& line);

 private:
  struct Promise {
    Priority priority;
    TimePoint at;
  };
  std::vector<Promise> promises_;
};

}  // namespace kurultai
