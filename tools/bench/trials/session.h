// One kurultaid and the rounds that are run on it: submits, follows the events, collects what the agents and
// the kernel have counted. One thread.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "tools/bench/child.h"
#include "tools/bench/conversation.h"
#include "tools/bench/kurultaid.h"
#include "tools/bench/trials/judge.h"
#include "tools/bench/trials/plan.h"

namespace kurultai::bench {

/// What the kernel has counted of the group of all workers; zeroes where there is none.
struct GroupCounts {
  std::string path;
  Bytes limit, highest;
  std::int64_t limit_reached = 0;
  std::int64_t kernel_kills = 0;
};

struct Round {
  std::vector<Subject> subjects;
  std::vector<std::string> faults;
  bool counts = false;                  // all overlapped, and somebody had to give way
  bool stuck = false;                   // not over in time: the session is of no more use
  std::vector<double> pauses_ms;        // the longest of each bystander that never gave way
  std::vector<double> memory_waits_ms;  // all of each, where the kernel tells it
  std::uint64_t bystander_turns = 0;
  double control_pause_ms = 0;            // the longest of a bystander outside, in the same time
  std::optional<double> growers_wait_ms;  // the longest that it had to wait, where it came to its end
};

struct SessionOptions {
  int tasks = 8;
  // Of a bystander, between its turns. A loop without any would measure the scheduler, and so do many on a
  // machine where a turn takes long.
  int pause_ms = 2;
  Bytes budget = mebibytes(768);
  bool judges_pauses = true;  // else only who gives way, and who waited for memory
  std::string log_file;       // of the supervisor, at debug; empty: errors to stderr
};

class Session {
 public:
  explicit Session(const SessionOptions& options);
  ~Session();

  Round run(const Plan& plan);
  /// What a task that grows by so much with nobody beside it tells: {seconds, longestWaitMs}.
  nlohmann::json grow_alone(int mib);
  GroupCounts counts() const;

 private:
  void start(const Part& part, bool grows);
  nlohmann::json result_of(const std::string& id);
  std::vector<Subject> told() const;

  bool play(const Plan& plan);
  void collect(Round& round);
  void take_bystander(Round& round, const Subject& subject, const nlohmann::json& record) const;
  void take_kernel(Round& round, const GroupCounts& before) const;
  double take_control_pause() const;

  SessionOptions options_;
  Kurultaid kurultaid_;
  std::string group_;
  Conversation conversation_;
  Child control_;
  std::string gate_;
  std::vector<Subject> subjects_;  // of the round that runs
};

}  // namespace kurultai::bench
