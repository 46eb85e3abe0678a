// A recorded life through one set of rules: the real governor, queue and admission decide again on what was
// recorded, and what they would have done is tallied. Pure.
//
// What nobody can know is what would have come after a deed that life did not see. Taken is: a task that the
// rules end, or never accept, is not counted from then on, until its end in life; one that life ended keeps
// having ended, whatever the rules say. All else goes on as it was.
#pragma once

#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "governance/governor.h"
#include "governance/life_record.h"
#include "governance/policy_tally.h"
#include "governance/task_queue.h"

namespace kurultai {

/// What really was done, for comparison.
class LifeTally {
 public:
  void take(const LifeRecord& record);
  const PolicyTally& tally() const { return tally_; }
  const PolicyRules& rules() const { return rules_; }
  std::uint64_t readings() const { return readings_; }
  std::uint64_t dropped() const { return dropped_; }
  std::uint64_t refused_otherwise() const { return refused_otherwise_; }
  /// The longest time between two readings.
  TimePoint::duration longest_gap() const { return longest_gap_; }
  TimePoint last() const { return last_; }
  /// Why the recording ended; empty where its end is missing.
  const std::string& closed() const { return closed_; }

 private:
  void take(const ReadingSeen& reading);

  PolicyTally tally_;
  PolicyRules rules_;
  std::uint64_t readings_ = 0, dropped_ = 0, refused_otherwise_ = 0;
  TimePoint::duration longest_gap_{};
  TimePoint last_;
  std::optional<TimePoint> last_reading_;
  std::string closed_;
};

class PolicyReplay {
 public:
  /// Without rules: those that were in effect, reloads included.
  explicit PolicyReplay(std::optional<PolicyRules> rules)
      : own_rules_(std::move(rules)), governor_({}), queue_({}) {}

  void take(const LifeRecord& record);
  const PolicyTally& tally() const { return tally_; }
  const PolicyRules& rules() const { return own_rules_ ? *own_rules_ : life_rules_; }
  /// When it first did otherwise than life; nothing: never.
  std::optional<TimePoint> first_difference() const { return first_difference_; }

 private:
  void take(const NothingSeen&) {}
  void take(const LifeHeader& header);
  void take(const ReadingSeen& life);
  void take(const SubmittedSeen& task);
  void take(const RefusedSeen& refused);
  void take(const BegunSeen& begun);
  void take(const RoomSeen& room);
  void take(const ReturnedSeen& returned);
  void take(const EndedSeen& ended);
  void take(const SkippedSeen&) {}
  void take(const RulesSeen& changed);
  void take(const DroppedSeen& dropped);
  void take(const ClosedSeen&) {}

  void use(const PolicyRules& rules);
  Candidate as_judged(const Candidate& seen, std::string_view agent) const;
  bool is_out(const std::string& task_id) const {
    return ended_.contains(task_id) || refused_.contains(task_id);
  }
  Situation situation(const ReadingSeen& life);
  void carry_out(const Action& action, const ReadingSeen& life);
  void differs(TimePoint at);
  void never_runs(std::string_view task_id);
  void hold_back(std::string heartbeat);
  void hold_back_waiting();

  std::optional<PolicyRules> own_rules_;
  PolicyRules life_rules_;
  Governor governor_;
  TaskQueue queue_;
  PolicyTally tally_;
  std::optional<TimePoint> first_difference_;

  std::vector<Candidate> running_;  // of a reading, as these rules see them; longer than it may need
  Bytes out_;                       // of what was used in the last reading: what is not counted
  Bytes idle_out_;                  // of that, idle workers that were ended
  std::unordered_set<std::string> ended_, refused_;  // by these rules
  std::unordered_set<std::string> begun_;            // in life, and not ended
  std::unordered_set<std::string> held_;             // heartbeats that wait and were held back
};

}  // namespace kurultai
