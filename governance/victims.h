// Whose memory is taken: the ranking of running tasks, and how many of them a deficit needs. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "governance/growth.h"
#include "protocol/bytes.h"
#include "protocol/duration.h"
#include "protocol/words.h"

namespace kurultai {

/// A running task as the governor sees it. A worker that runs several tasks is one candidate: its highest,
/// with the work of all of them.
struct Candidate {
  std::string task_id;
  Priority priority = Priority::normal;
  bool preemptable = true;
  bool suspendable = false;            // its worker can stand still, and there is swap for all that it holds
  bool is_protected = false;           // nothing but its own cap may end it
  bool outgrown = false;               // it holds more than it was let in with: see footprint.h
  Bytes memory;                        // of its worker
  double work_lost = 0;                // seconds, see below
  std::optional<TimePoint> back_by{};  // it is leaving already; its memory is expected by then
  bool dying = false;                  // leaving by SIGKILL: nothing can hurry it further
  Growth growth{};                     // of its worker
  Bytes most{};                        // … which is not expected to grow beyond this
  Duration grace{};                    // that it gets when it is asked to leave
  bool may_leave_early = false;        // for a prediction, before any threshold is reached
};

/// Seconds of work that ending a task throws away: what it did since `saved` (its start, or its last
/// checkpoint), up to twice that the nearer it is to its end, and the start of its worker anew.
double work_lost(TimePoint saved, double progress, Duration cold_start, TimePoint now);

/// Bytes freed for each second of work lost.
double score(const Candidate& candidate);

/// The order in which tasks give way: lowest priority first; inside a level those that have outgrown what
/// they were let in with before all that kept to it, and then by score. `candidates` that can not be chosen
/// are left out: protected and dying ones, those that hold nothing, and unless it is for a `kill` those that
/// may neither be suspended nor preempted, or are leaving in some other way.
std::vector<const Candidate*> rank_victims(std::span<const Candidate> candidates, bool kill);

/// As many from the front of that order as together hold `need`, less those of the lowest level reached that
/// turn out not to be needed; none that has outgrown its footprint is spared for one that has not.
std::vector<const Candidate*> choose_victims(std::span<const Candidate> candidates, Bytes need, bool kill);

}  // namespace kurultai
