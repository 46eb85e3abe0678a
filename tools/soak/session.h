// One soak: a kurultaid of our own, tasks that come whether it keeps up or not, chaos where the profile has
// it, and what is seen of all that. One thread.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tools/bench/dice.h"
#include "tools/bench/kurultaid.h"
#include "tools/bench/scratch.h"
#include "tools/kurultai/event_stream.h"
#include "tools/kurultai/http.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/run/progress.h"
#include "tools/soak/agents.h"
#include "tools/soak/ledger.h"
#include "tools/soak/mischief.h"
#include "tools/soak/outcome.h"
#include "tools/soak/profile.h"
#include "tools/soak/watch.h"

namespace kurultai::soak {

struct SessionOptions {
  std::uint64_t seed = 1;
  double scale = 1;      // that the profile was compressed by; for the report
  std::string log_file;  // of the supervisor, at debug; empty: errors to stderr
};

/// Failures to begin are thrown (std::runtime_error).
class Session {
 public:
  /// `profile` outlives it.
  Session(const Profile& profile, const SessionOptions& options);

  /// Until the profile's time is over, or Ctrl-C.
  Outcome run();

 private:
  struct Again {
    TimePoint at;
    Submission task;
  };

  void connect();
  void follow_events();
  void turn(Duration at_most);
  bool wait_until(const std::function<bool()>& condition, Duration patience);
  void look(TimePoint now);

  void load();
  void add_arrivals(TimePoint now);
  void add(const TaskKind& kind, TimePoint due);
  void send_waiting(TimePoint now);
  void send(Submission task);
  void take_answer(const Submission& task, Answer<Response> answer);
  void take_refusal(const Response& response);

  void take_event(const StreamEvent& event);
  void take_task_event(const std::string& type, const nlohmann::json& event);
  void ask_for_the_silent(TimePoint now);
  void ask_why(const std::string& id, const std::string& what);
  void take_task(const std::string& id, const Answer<Response>& answer);
  void crash();

  std::optional<double> probe(Duration patience);
  void settle();
  void cancel_all();
  void end_workers();
  void count_what_is_open(std::int64_t Count::* when);
  void read_heap(const std::string& when);
  void count_what_is_left();
  nlohmann::json ask(const std::string& method, const std::string& path);
  std::string progress(TimePoint now) const;

  const Profile& profile_;
  SessionOptions options_;
  const Interrupts interrupts_;
  bench::Scratch scratch_{"kurultai-soak"};
  std::vector<TaskKind> kinds_;
  AgentFiles files_;
  Config config_;
  bench::Kurultaid kurultaid_;
  LedgerReader written_;
  bench::Dice dice_;
  Ledger ledger_;
  Outcome outcome_;
  Chaos chaos_;
  ProgressDisplay display_;

  EventStream stream_;
  std::vector<StreamEvent> events_;  // that came and were not looked at
  TimePoint begin_, load_end_, next_due_, next_look_, next_question_;
  TimePoint follow_at_ = TimePoint::max();  // the events again
  TimePoint excused_until_{};               // the supervisor is on its way back
  std::deque<Submission> waiting_;
  std::deque<Again> again_;
  std::set<std::string> asked_;
  std::uint64_t number_ = 0;
  int in_flight_ = 0;
  std::string probe_key_;
  bool is_following_ = false;
  std::unique_ptr<Http> http_;  // last: its callbacks use all of the above
};

}  // namespace kurultai::soak
