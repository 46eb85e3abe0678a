// What became of each task that was accepted: the supervisor's word, against what the agents wrote down
// themselves when they were done. Pure. Room is bounded by the tasks that are open: of those that have ended
// the newest are remembered, so that a second end, or one run too many, is noticed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocol/duration.h"
#include "tools/soak/reservoir.h"

namespace kurultai::soak {

/// A task as it was accepted.
struct Accepted {
  std::string key;     // idempotency key; what its agent writes down
  bool leaks = false;  // dies of its cap, rightfully
  TimePoint due{};     // when it was to be submitted
};

/// As the supervisor tells it.
struct Ending {
  std::string state;   // completed, failed, cancelled, evicted
  std::string reason;  // of a failure
  int attempt = 1;
  bool asked = false;  // the answer to a question; its event may still come
};

struct LedgerCounts {
  std::uint64_t accepted = 0;
  std::uint64_t lost = 0;        // not known any more, never ended, or completed without having run
  std::uint64_t duplicated = 0;  // ended twice, run once too often, or one key for two tasks
  std::uint64_t failed = 0;      // without a cause that the soak knows
  std::uint64_t capped_leaks = 0;
  std::uint64_t capped_others = 0;
  std::map<std::string, std::uint64_t> ends;  // by state, of failures with the reason: `failed: memory_cap`
};

class Ledger {
 public:
  static constexpr std::size_t remembered = 4096;

  void accepted(const std::string& id, Accepted task);
  void started(const std::string& id, TimePoint now);
  void preempted(const std::string& id, TimePoint now);
  void heard_of(const std::string& id, TimePoint now);
  /// An end before the answer that accepted the task is kept for it. Whether it is a failure without a cause.
  bool ended(const std::string& id, const Ending& ending, TimePoint now);
  /// The supervisor has no such task.
  void unknown(const std::string& id);
  /// Something is done to it by us: whatever end it comes to is none of its own.
  void disturbed(const std::string& id);
  /// All open tasks lose what they have done so far, and run once more.
  void all_disturbed();
  /// An agent wrote this key down.
  void done(std::string_view key);

  /// Open tasks of which nothing was heard since, the longest silent first.
  std::vector<std::string> silent_since(TimePoint since, std::size_t at_most) const;
  std::size_t open() const { return open_.size(); }
  bool is_open(const std::string& id) const { return open_.contains(id); }
  /// Some open task; empty when there is none. `number` chooses.
  std::string any(std::uint64_t number) const;
  std::vector<std::string> all() const;

  /// When nothing more comes: what is open is lost, and what is remembered is judged.
  void close();

  const LedgerCounts& counts() const { return counts_; }
  const Reservoir& starts_ms() const { return starts_ms_; }  // from due to the first start
  const Reservoir& ends_ms() const { return ends_ms_; }      // from due to completion

 private:
  struct Entry {
    Accepted task;
    TimePoint heard{};
    bool has_started = false;
    bool is_disturbed = false;
    int restarts = 0;  // that an end of it may have been lost in
    int runs_done = 0;
  };
  struct Closed {
    std::string id;
    std::string key;
    bool completed = false;
    int most_runs = 1;
    int runs_done = 0;
    bool is_told = false;  // by an event
  };
  struct Early {
    std::string id;
    Ending ending;
    TimePoint at{};
  };

  bool close_entry(std::unordered_map<std::string, Entry>::iterator at, const Ending& ending, TimePoint now);
  void take_early(const std::string& id);
  void judge(const Closed& closed);
  Closed* closed_by_id(const std::string& id);

  std::unordered_map<std::string, Entry> open_;
  std::unordered_map<std::string, std::string> ids_;  // of open keys
  std::deque<Closed> closed_;
  std::uint64_t forgotten_ = 0;  // of `closed_`: so many came before its first
  std::unordered_map<std::string, std::uint64_t> closed_ids_, closed_keys_;  // their number
  std::deque<Early> early_;
  std::deque<std::string> early_keys_;  // written down before their task was accepted
  LedgerCounts counts_;
  Reservoir starts_ms_, ends_ms_;
};

}  // namespace kurultai::soak
