// The records of a recorded life (`kurultaid --record`): what the policies saw, in the order in which it
// happened, and what they decided. Views are valid as long as whoever gave the record says.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "governance/governor.h"
#include "governance/policy_rules.h"
#include "governance/receipt.h"
#include "protocol/duration.h"

namespace kurultai {

/// Moments of a recording count from its beginning: TimePoint{} is that.
struct LifeHeader {
  static constexpr int version = 1;
  std::string started_at;  // RFC 3339
  std::string guarantee;
  Bytes machine;  // what `budget: auto` is
  PolicyRules rules;
};

struct RunningSeen {
  const Candidate* task;
  std::string_view agent;
};

/// A reading, what the governor saw with it, and what it decided.
struct ReadingSeen {
  TimePoint at;
  Bytes used, supervisor;
  Bytes idle;    // of workers without a task, whether or not they may be ended
  Bytes ending;  // as in Situation, like the two that follow
  bool starving = false, lowered = false;
  bool put_off = false;                      // its kills were: a second look, or page cache, comes first
  std::optional<Duration> time_to_act = {};  // as in Situation
  std::span<const RunningSeen> running = {};
  std::span<const Action> actions = {};  // without hints
};

struct SubmittedSeen {
  TimePoint at;
  std::string_view task_id, agent;
  Priority priority = Priority::normal;
  bool is_known = false;    // it waited already under an earlier supervisor
  std::size_t evicted = 0;  // heartbeats that made room for it
};
struct RefusedSeen {
  TimePoint at;
  std::string_view agent;  // "?" where that is no name
  Priority priority = Priority::normal;
  std::string_view code;
};
/// It left the queue for a worker.
struct BegunSeen {
  TimePoint at;
  std::string_view task_id;
  Priority priority = Priority::normal;
  Bytes committed;     // by all together, with it
  bool alone = false;  // it did not fit, and nothing else ran
};
/// Tasks had to give way to one that was to start.
struct RoomSeen {
  TimePoint at;
  Receipt receipt;
};
/// A task is in front of its level again.
struct ReturnedSeen {
  TimePoint at;
  std::string_view task_id, agent;
  Priority priority = Priority::normal;
  std::string_view why;
};
/// From wherever it was.
struct EndedSeen {
  TimePoint at;
  std::string_view task_id, state;
};
/// A heartbeat was held back.
struct SkippedSeen {
  TimePoint at;
  std::string_view task_id;
};
struct RulesSeen {
  TimePoint at;
  PolicyRules rules;
};
/// So many records before this one are not there: the disk was slow or full.
struct DroppedSeen {
  TimePoint at;
  std::uint64_t count = 0;
};
/// The recording ended in order.
struct ClosedSeen {
  TimePoint at;
  std::string_view why;
};
/// A line that only explains later ones.
struct NothingSeen {};

using LifeRecord =
    std::variant<NothingSeen, LifeHeader, ReadingSeen, SubmittedSeen, RefusedSeen, BegunSeen, RoomSeen,
                 ReturnedSeen, EndedSeen, SkippedSeen, RulesSeen, DroppedSeen, ClosedSeen>;

inline constexpr std::size_t longest_life_line = std::size_t{4} << 20;
/// Of any size: the sum of all that a line can hold still has to be a number. x86 addresses no more.
inline constexpr Bytes most_life_bytes{std::int64_t{1} << 46};
inline constexpr std::size_t most_life_tasks = 10'000;  // that run at a time

}  // namespace kurultai
