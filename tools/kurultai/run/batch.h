// The bookkeeping of a run: which commands are on their way, which run, whose output is next. Pure. It holds
// only commands that are not yet printed, and those are bounded: memory does not grow with the input.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace kurultai {

struct BatchLimits {
  std::size_t unfinished = 18;  // submitted and not ended: what runs, and a full queue behind it
  std::size_t ended = 64;       // besides, ended but not yet collected from the supervisor
  std::size_t held = 10'000;    // besides, collected but waiting for an earlier one's output
  bool keep_order = false;      // print in the order of the input
};

class Batch {
 public:
  using Sequence = std::size_t;  // 1 is the first argument

  struct Counts {
    std::size_t done = 0, failed = 0;
    std::size_t running = 0, waiting = 0;
    std::size_t not_run = 0;  // given up on after Ctrl-C
  };

  explicit Batch(BatchLimits limits) : limits_(limits) {}

  bool has_room() const;
  /// A new command, not yet accepted by the supervisor. `label` names it in messages.
  Sequence add(std::string label);
  /// The supervisor took it under this id.
  void accepted(Sequence sequence, const std::string& id);
  /// The supervisor will never take it: it counts as failed, and there is nothing to print.
  void refused(Sequence sequence);
  /// It was not submitted after all.
  void given_up(Sequence sequence);
  /// So many arguments were left when the run was ended early.
  void left_over(std::size_t count) { counts_.not_run += count; }

  // What the events say. While a submission has no answer yet, unknown ids are remembered: the event of a
  // quick command can overtake that answer.
  void started(const std::string& id);
  void sent_back(const std::string& id);
  void ended(const std::string& id, bool well);
  void cancelled(const std::string& id);  // by us, after Ctrl-C: it counts as not run

  struct Next {
    Sequence sequence;
    std::string id, label;
  };
  /// Whose output is fetched next, in the order in which they ended. Stays the same until `collected`.
  std::optional<Next> next_to_collect() const;
  /// Its output is here, and the task turned out to have ended well or not. Without keep_order that was all.
  void collected(Sequence sequence, bool well);
  /// With keep_order: whose collected output is next in the order of the input. Stays the same until
  /// `printed`.
  std::optional<Sequence> next_to_print() const;
  /// Whether the output of this command may be shown as it comes.
  bool in_turn(Sequence sequence) const {
    return !limits_.keep_order || commands_.begin()->first == sequence;
  }
  void printed(Sequence sequence);

  /// Ids of commands that wait at the supervisor, or run there.
  std::set<std::string> waiting_ids() const;
  std::set<std::string> unfinished_ids() const;

  const Counts& counts() const { return counts_; }
  bool empty() const { return commands_.empty(); }

 private:
  enum class State { submitting, waiting, running, ended_well, ended_badly, held };
  struct Command {
    std::string id, label;
    State state = State::submitting;
  };
  static bool has_ended(State state);
  void move(Command& command, State to);
  void count(State state, int by);
  void forget(Sequence sequence);
  void remember(const std::string& id, State state);
  Command* find(const std::string& id);

  BatchLimits limits_;
  Counts counts_;
  Sequence last_ = 0;
  std::map<Sequence, Command> commands_;
  std::map<std::string, Sequence> by_id_;
  std::map<std::string, State> early_;  // seen in an event before its id was known
  std::deque<Sequence> ended_;          // in the order they ended
  std::size_t submitting_ = 0;
  std::size_t held_ = 0;
};

/// 101 for more than 100 failures; 130 when none failed but some were not run.
int exit_status(const Batch::Counts& counts);

}  // namespace kurultai
