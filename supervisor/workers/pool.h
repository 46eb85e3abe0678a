// The workers of this instance: starts them, ends the idle ones, remembers how often an agent's workers
// failed, and buries the dead. Which task goes where is decided by the dispatcher.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "governance/placement.h"
#include "governance/restart_budget.h"
#include "supervisor/store/left_in_memory.h"
#include "supervisor/workers/launch.h"
#include "supervisor/workers/places.h"
#include "supervisor/workers/worker.h"

namespace kurultai {

struct PoolSettings {
  std::string launcher;  // path of kurultai-worker
  std::string instance;
  std::vector<std::string> environment;  // the supervisor's own
  std::size_t max_line = 0;
  std::optional<int> nice;  // of workers; absent: the supervisor's own
  std::string payloads;     // directory of payloads that came as bytes
  std::string state;        // the supervisor's directory
  std::string socket;       // absolute
  PlaceSettings places;
  OwnUsers own_users;  // of `user: auto`
};

/// Of an error in making a worker: no memory, no number, descriptor or process left, as many groups as
/// somebody allowed, or one of the name that is on its way out.
bool may_pass(int code);

class Pool {
 public:
  Pool(uv::Loop& loop, Controller& controller, PoolSettings settings, WorkerListener& listener);
  ~Pool();

  /// With an `edge` (controller.h) it is there before the process is. Failures: no room for a group or a
  /// process (may_pass), no uid left (ENOMEM), no such user.
  Result<Worker*> spawn(const std::shared_ptr<const AgentConfig>& agent, Bytes limit, Bytes warning,
                        std::optional<Bytes> edge, int oom_score_adj = usual_oom_score_adj);

  /// Around one task of an exec agent, which may have a place of its own in its worker's; `name` is that of
  /// its result's file.
  void begin_in_place(const Worker& worker, const std::string& name);
  void end_in_place(const Worker& worker, const std::string& name);
  /// Removes places that an earlier supervisor of this state directory has left.
  void remove_old_places() { places_.remove_old(); }

  /// A process beside `worker`, as the same user, in a group of its own, that is none of the workers: whoever
  /// asked owns it. Of `agent`, the program with its place, environment and number of processes. Where the
  /// kernel runs out of memory it is the first to go. Failures as of spawn.
  Result<std::unique_ptr<Worker>> start_beside(const Worker& worker,
                                               const std::shared_ptr<const AgentConfig>& agent, Bytes limit,
                                               WorkerListener& listener);

  /// The directory of payloads that came as bytes.
  const std::string& payloads() const { return settings_.payloads; }
  Worker* find(const std::string& id);
  std::vector<WorkerView> views() const;
  const std::vector<std::unique_ptr<Worker>>& workers() const { return workers_; }
  int active() const;  // with tasks
  int idle() const;    // serving, without
  Bytes idle_memory() const;

  /// Ends idle workers: all, or those idle since before `since`, or those of one agent.
  void end_idle(TimePoint since, const std::string& agent = {});
  /// When the next idle worker reaches `timeout`; max() if there is none.
  TimePoint next_idle_end(Duration timeout) const;
  /// Ends the idle workers of this agent now, and lets the others finish what they have and take nothing
  /// more.
  void retire(const std::string& agent);
  void end_all(Duration grace);
  void kill_all();
  /// Kills the workers without a task, also those that were told to end and have not yet.
  void kill_idle();

  /// From worker_gone: counts the end against the agent's restart budget if it was abnormal, and destroys the
  /// worker in a later turn of the loop.
  void bury(Worker& worker, const WorkerEnd& end, bool had_tasks);
  /// When a new worker of this agent may start: now or earlier means at once.
  TimePoint ready_at(const std::string& agent, TimePoint now);
  /// A worker of this agent finished a task: its row of failures is over.
  void served(const std::string& agent) { budget(agent).served(); }
  int restarts(const std::string& agent) const;

  void set_max_restarts_per_hour(int max);
  /// Users are looked up once, because that may read files or ask a server, until this is called.
  void forget_users() { users_.clear(); }

 private:
  RestartBudget& budget(const std::string& agent);
  std::optional<unsigned> free_uid() const;
  std::string place_of(const Worker& worker) const;
  void watch_tmp(const Worker& worker, const std::string& place);
  void clear_user(const std::string& worker_id, unsigned uid);
  void end_full(const std::string& worker_id, Bytes holds, Bytes limit);
  LaunchInput launch_input(const std::string& id, const AgentConfig& agent, Bytes limit) const;
  Result<std::optional<User>> user_of(const std::string& id, const AgentConfig& agent, unsigned own_uid);

  uv::Loop& loop_;
  Controller& controller_;
  PoolSettings settings_;
  WorkerListener& listener_;
  Places places_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Worker>> graves_;
  uv::Timer undertaker_;
  std::map<std::string, RestartBudget> budgets_;
  std::map<std::string, int> restarts_;
  std::map<std::string, unsigned> uids_;  // worker id → uid of `user: auto`, until nothing of it is left
  std::map<std::string, User> users_;     // by what `user` says
  int max_restarts_per_hour_ = 10;
  std::uint64_t last_number_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for callbacks from threads
};

}  // namespace kurultai
