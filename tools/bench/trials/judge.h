// What is right and wrong about a round, from what the outside saw of it and from nothing that the supervisor
// thinks of itself. Pure. Moments are milliseconds of one clock, taken from the events.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "protocol/words.h"

namespace kurultai::bench {

inline constexpr double never = std::numeric_limits<double>::infinity();

/// A task in a worker's hands, from its start to its end or to its going back to the queue.
struct Turn {
  double holding = never;  // since it has memory
  double ended = never;
  double decided = never;  // when the governor chose it
  int decision = 0;        // its number; those chosen together have the same. 0: not chosen
  std::string why = {};    // of its giving way: preempt, kill, kernel …; empty: it did not
};

struct Subject {
  std::string id;
  Priority priority = Priority::normal;
  int mib = 0;
  bool grows = false;
  std::vector<Turn> turns = {};
  bool finished = false;
  std::string failure = {};  // why it failed; empty: it did not

  bool gave_way() const;
};

/// The sentences that are true of a wrong round; none for a right one.
std::vector<std::string> faults_of(const std::vector<Subject>& subjects);

/// Whether all others had their memory, and had it still, when the first had to give way to the grower.
bool all_overlapped(const std::vector<Subject>& subjects);

}  // namespace kurultai::bench
