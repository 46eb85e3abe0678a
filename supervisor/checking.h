// Asks workers how they are: sends PING or runs the command of the configuration, with the table of
// health_checks.h deciding who and when, and tells the dispatcher who does not answer any more. Commands are
// workers of their own that never get a task: capped, in a group, swept with all that they started, and few
// at once. A turn of the loop begins a few checks only, so that nothing else waits for a thousand of them.
// Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "governance/health_checks.h"
#include "supervisor/workers/pool.h"

namespace kurultai {

class Checking : private WorkerListener {
 public:
  static constexpr std::size_t pings_a_turn = 32;         // about 0.2 ms
  static constexpr std::size_t most_commands = 4;         // at once
  static constexpr Bytes command_limit = mebibytes(128);  // of each, with all that it starts
  static constexpr int command_processes = 64;
  static constexpr std::size_t most_output = 65536;  // of a command, in bytes; it is killed beyond

  /// What came of all checks so far.
  struct Counts {
    std::uint64_t passed = 0;
    std::uint64_t failed = 0;
    std::uint64_t timed_out = 0;
    std::uint64_t skipped = 0;  // its worker had a task, or there was no room for the command
  };

  /// `on_unhealthy` is called after each failure of one that is unhealthy. While `has_room` says no, no
  /// command is started.
  Checking(uv::Loop& loop, Pool& pool, std::function<void(Worker&)> on_unhealthy,
           std::function<bool()> has_room);
  ~Checking() override;

  /// From READY on.
  void watch(const Worker& worker, const HealthConfig& health);
  void forget(const Worker& worker);
  /// A PONG; false when it answers nothing.
  bool heard(const Worker& worker, std::uint64_t seq);

  /// Begins no more, and ends the commands that run.
  void stop();
  /// Whether no command is left.
  bool is_quiet() const { return commands_.empty(); }
  void on_quiet(std::function<void()> callback) { on_quiet_ = std::move(callback); }

  /// Null: nobody checks it.
  const WorkerHealth* health_of(const Worker& worker) const { return table_.find(worker.id()); }
  const Counts& counts() const { return counts_; }
  /// The longest that one turn of the loop was busy with beginning checks.
  std::chrono::nanoseconds longest_turn() const { return longest_turn_; }

 private:
  struct Command {
    std::unique_ptr<Worker> process;
    std::uint64_t check = 0;
    std::size_t output = 0;       // bytes so far
    std::string last_words = {};  // the newest of them
    std::string broken = {};      // why its status counts for nothing
  };

  void turn();
  void arm();
  void look_at(Worker& worker, const HealthChecks::Due& due);
  void ask(Worker& worker);
  void skip(const Worker& worker);
  void miss(Worker& worker, std::uint64_t check);
  bool may_start() const;
  void start_waiting();
  void start_command(Worker& worker);
  void fail(Worker& worker, std::uint64_t check, std::uint64_t& counter, std::string reason);
  void judge(const std::string& worker_id, const Command& command, const WorkerEnd& end);
  Command& command_of(const Worker& process) { return commands_.at(process.id()); }

  // WorkerListener, of commands: a process has the id of the worker that it checks.
  void worker_ready(Worker& process) override;
  void worker_said(Worker& process, FromAgent message) override;
  void worker_logged(Worker& process, std::string_view text, bool noise) override;
  void worker_at_edge(Worker& process) override;
  void worker_oom(Worker& process) override;
  void worker_swept(Worker& process, int count) override;
  void worker_ending(Worker& process) override;
  void worker_gone(Worker& process, const WorkerEnd& end) override;

  uv::Loop& loop_;
  Pool& pool_;
  std::function<void(Worker&)> on_unhealthy_;
  std::function<bool()> has_room_;
  std::function<void()> on_quiet_;
  HealthChecks table_;
  std::map<std::string, HealthConfig> rules_;  // of those that are watched
  std::map<std::string, Command> commands_;    // by the worker that they check
  std::deque<std::string> waiting_;            // for a command to end; no worker twice
  std::vector<std::unique_ptr<Worker>> graves_;
  Counts counts_;
  std::chrono::nanoseconds longest_turn_{};
  bool stopped_ = false;
  uv::Timer timer_;
  uv::Timer undertaker_;
};

}  // namespace kurultai
