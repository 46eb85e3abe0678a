#include "supervisor/dispatcher.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "config/load.h"

namespace kurultai {

namespace {

constexpr Duration no_room_pause{1000};  // the kernel had no room for a new worker
constexpr Duration housekeeping_pace{60000};

Retention retention_of(const StoreConfig& store) {
  return {store.retention, static_cast<std::size_t>(store.max_finished), store.max_held, store.max_spool};
}

AgentConfig command_agent_config() {
  AgentConfig agent;
  agent.name = command_agent;
  agent.protocol = AgentProtocol::exec;
  return agent;
}

std::map<std::string, std::shared_ptr<const AgentConfig>> agents_of(const Config& config) {
  std::map<std::string, std::shared_ptr<const AgentConfig>> agents;
  for (const auto& [name, agent] : config.agents) agents[name] = std::make_shared<const AgentConfig>(agent);
  if (config.exec.allow) {
    AgentConfig agent = command_agent_config();
    agent.env_pass = config.exec.env_pass;
    agents[std::string(command_agent)] = std::make_shared<const AgentConfig>(std::move(agent));
  }
  return agents;
}

/// The exec host ranks each command by its own task.
int launch_rank(const AgentConfig& agent, Priority priority) {
  return agent.protocol == AgentProtocol::exec ? usual_oom_score_adj : oom_score_adj_of(priority);
}

}  // namespace

Dispatcher::Dispatcher(uv::Loop& loop, std::shared_ptr<const Config> config, Controller& controller,
                       Events& events, PoolSettings pool, std::string spool_directory,
                       std::string log_directory)
    : loop_(loop),
      config_(std::move(config)),
      agents_(agents_of(*config_)),
      controller_(controller),
      events_(events),
      spool_directory_(std::move(spool_directory)),
      logs_(loop, std::move(log_directory),
            [this](const std::string& task, std::int64_t kept) { log_written(task, kept); }),
      tasks_(retention_of(config_->store),
             [this](const Task& task) {
               if (!task.result.file.empty()) remove_file(loop_, task.result.file);
               logs_.remove(task.id, task.log_bytes > 0);
               if (task.durable) journal_->forget(task);
             }),
      queue_(config_->queue),
      governor_(config_->memory.thresholds),
      pool_(loop, controller, std::move(pool), *this),
      checking_(
          loop, pool_, [this](Worker& worker) { on_unhealthy(worker); },
          [this] { return !governor_.pressure().is_over(Threshold::preempt); }),
      grants_(loop,
              [this] {
                if (monitor_ != nullptr) monitor_->nudge();
              }),
      called_breakers_(config_->circuit_breakers),
      pump_timer_(loop, [this] { pump(); }),
      housekeeping_timer_(loop, [this] { housekeeping(); }),
      drain_timer_(loop, [this] { check_drained(); }) {
  pool_.set_max_restarts_per_hour(config_->workers.max_restarts_per_hour);
  checking_.on_quiet([this] {
    if (is_draining()) check_drained();
  });
  housekeeping();
}

Dispatcher::~Dispatcher() = default;

std::shared_ptr<const AgentConfig> Dispatcher::agent_of(const std::string& name) const {
  const auto found = agents_.find(name);
  return found == agents_.end() ? nullptr : found->second;
}

Bytes Dispatcher::limit_of(const Task& task) const {
  const Bytes grown = task.grown_limit.value_or(Bytes{});  // a reload may have overtaken it
  if (task.memory_limit) return std::max(*task.memory_limit, grown);
  const auto agent = agent_of(task.agent);
  return agent == nullptr ? grown : std::max(memory_limit_of(*agent, *config_), grown);
}

WantedWorker Dispatcher::wanted_worker(const Task& task) const {
  const auto agent = agent_of(task.agent);
  return {task.agent, limit_of(task), agent == nullptr ? 0 : most_workers(*agent)};
}

void Dispatcher::configure(std::shared_ptr<const Config> config) {
  const auto before = std::exchange(config_, std::move(config));
  const auto change = compare(*before, *config_);
  agents_ = agents_of(*config_);
  std::erase_if(breakers_, [this](const auto& entry) { return !agents_.contains(entry.first); });
  for (const auto& [name, agent] : before->agents) {
    if (!agents_.contains(name)) agent_metrics_.forget(name);
  }
  queue_.set_limits(config_->queue);
  governor_.configure(config_->memory.thresholds);
  count_payload(0);
  pool_.set_max_restarts_per_hour(config_->workers.max_restarts_per_hour);
  pool_.forget_users();
  // Warm workers run with the settings they were started with: those of changed agents make room for new
  // ones.
  for (const std::string& path : change.live) {
    if (path.starts_with("agents.")) change_agent(path.substr(7), *before);
    if (path.starts_with("exec.")) pool_.retire(std::string(command_agent));
    if (path.starts_with("circuit_breakers")) {  // they begin anew under the new rules
      breakers_.clear();
      called_breakers_.start_anew(config_->circuit_breakers);
    }
  }
  for (const auto& [name, agent] : agents_) {  // also where only the common limits have changed
    if (memory_limit_of(*agent, *before) != memory_limit_of(*agent, *config_) ||
        memory_warning_of(*agent, *before) != memory_warning_of(*agent, *config_)) {
      pool_.retire(name);
    }
  }
  housekeeping();
  pump();
}

void Dispatcher::change_agent(const std::string& name, const Config& before) {
  const auto old = before.agents.find(name);
  const auto now = config_->agents.find(name);
  const bool stays = old != before.agents.end() && now != config_->agents.end() &&
                     !needs_new_workers(old->second, now->second);
  if (!stays) {
    pool_.retire(name);
    tools_.erase(name);
  } else {
    for (const auto& worker : pool_.workers()) {
      const bool serves = worker->agent().name == name && worker->state() == Worker::State::serving;
      if (serves) checking_.watch(*worker, now->second.health);
    }
  }
}

// Starting a task can end others and so ask for another round: that round is run here, never inside this one.
/// What payloads take, results of finished tasks may not.
void Dispatcher::count_payload(std::int64_t bytes) {
  payload_bytes_ += bytes;
  Retention retention = retention_of(config_->store);
  retention.max_spooled.count = std::max<std::int64_t>(0, retention.max_spooled.count - payload_bytes_);
  tasks_.set_retention(retention);
}

void Dispatcher::pump() {
  if (pumping_) {
    pump_again_ = true;
    return;
  }
  pumping_ = true;
  do {
    pump_again_ = false;
    startable_since_ = loop_.now();
    while (start_next()) {
    }
  } while (pump_again_);
  pumping_ = false;
}

std::vector<WorkerView> Dispatcher::worker_views() const {
  std::vector<WorkerView> views = pool_.views();
  for (auto [view, worker] = std::pair(views.begin(), pool_.workers().begin()); view != views.end();
       ++view, ++worker)
    view->suspect = health_of(**worker).status == HealthStatus::suspect;
  return views;
}

bool Dispatcher::start_next() {
  waits_for_room_ = false;
  if (is_draining() || (queue_.depth() == 0 && queue_.returned() == 0)) return false;
  Look look{.workers = worker_views(), .most_workers = worker_limit()};
  // Ends at one behind which nobody may start, too: a look through all of a long queue at each submission
  // would cost more than all else.
  const bool found = queue_.find_first([&](const QueuedTask& waiting) {
    return starts_now(waiting, look) || look.closed;
  }) != nullptr;
  if (found && !look.closed) {
    for (Task* task : look.passed) task->passes += 1;
    const auto* answer = std::get_if<StartTask>(&look.admission);
    start(*look.task, look, answer != nullptr && !answer->fits);
    return true;
  }
  const auto* room = std::get_if<MakeRoom>(&look.admission);
  if (room != nullptr && waits_for_room_) make_room(look, *room);
  if (const auto* yield = std::get_if<YieldWorker>(&look.placement)) {
    if (Worker* worker = pool_.find(yield->worker_id))
      worker->end(std::min(idle_grace, worker->agent().grace));
  }
  return false;
}

// Strict priority: once a task has to wait for a worker or for room, none behind it may take one.
bool Dispatcher::starts_now(const QueuedTask& waiting, Look& look) {
  if (!look.passed.empty() && waiting.priority != look.passed.front()->priority) look.closed = true;
  if (look.closed) return false;
  Task& task = *waiting.task;
  look.task = &task;
  if (!may_start(task)) return false;
  look.placement = place(wanted_worker(task), look.workers, look.most_workers);
  if (std::holds_alternative<WaitForOwn>(look.placement)) return false;
  const TimePoint now = loop_.now();
  const bool is_there = std::holds_alternative<UseWorker>(look.placement);
  if (const TimePoint ready = pool_.ready_at(waiting.agent, now); !is_there && ready > now) {
    arm_pump(ready);  // its agent's workers keep failing: others need not wait for that, nor give way for it
    look.placement = WaitForWorker{};
    return false;
  }
  if (!finds_room(task, look)) return false;
  if (is_there) return true;
  look.closed = !std::holds_alternative<SpawnWorker>(look.placement) || room_at_ > now;
  if (room_at_ > now) arm_pump(room_at_);
  return !look.closed;
}

bool Dispatcher::may_start(Task& task) {
  if (!task.accepted) return false;  // first: many may be on their way to the disk
  if (outranked_by_suspended(task.priority) || is_held_back(task)) return false;
  const bool anything_running = !runs_.empty();
  if (anything_running && task.not_before > loop_.now()) {
    arm_pump(task.not_before);
    return false;
  }
  if (governor_.allows_start(task.priority, anything_running)) return true;
  if (task.priority == Priority::heartbeat && governor_.skips_heartbeats()) {
    skip_heartbeat(task);
  }
  return !config_->flags.memory_governance;
}

void Dispatcher::skip_heartbeat(Task& task) {
  if (task.skip_counted) return;
  task.skip_counted = true;
  const double ratio = governor_.pressure().ratio();
  record(SkippedSeen{loop_.now(), task.id});
  if (config_->flags.memory_governance) {
    events_.emit(task.id, HeartbeatSkipped{task, ratio});
  } else {
    events_.emit(task.id, Withheld{"skip_heartbeat", task.id, ratio});
  }
}

void Dispatcher::start(Task& task, const Look& look, bool alone) {
  const auto agent = agent_of(task.agent);
  if (agent == nullptr) {
    queue_.remove(task.id);
    return end_waiting(task, TaskState::failed, FailReason::spawn_failed,
                       "agent '" + task.agent + "' is no longer in the configuration");
  }
  const Bytes committed = recorder_ != nullptr ? committed_with(task, look.placement) : Bytes{};
  Worker* worker = nullptr;
  if (const auto* use = std::get_if<UseWorker>(&look.placement)) {
    worker = pool_.find(use->worker_id);
  } else {
    const Bytes limit = limit_of(task);
    if (!has_room()) {
      room_at_ = loop_.now() + no_room_pause;  // the task keeps its place
      return arm_pump(room_at_);
    }
    auto spawned = pool_.spawn(agent, limit, std::min(limit, memory_warning_of(*agent, *config_)),
                               governs_edges() ? std::optional(Grants::first_edge(limit)) : std::nullopt,
                               launch_rank(*agent, task.priority));
    if (!spawned && may_pass(spawned.error().code)) {
      room_at_ = loop_.now() + no_room_pause;  // the task keeps its place
      no_room_ = spawned.error().message;
      return;
    }
    if (!spawned) {
      queue_.remove(task.id);
      return end_waiting(task, TaskState::failed, FailReason::spawn_failed, spawned.error().message);
    }
    worker = *spawned;
    if (governs_edges()) grants_.add(*worker);
    events_.emit(task.id, WorkerEvent{WorkerEvent::Kind::spawned, worker->id(), agent->name, worker->pid()});
    if (monitor_ != nullptr) monitor_->nudge();
  }
  queue_.remove(task.id);
  record(BegunSeen{loop_.now(), task.id, task.priority, committed, alone});
  worker->take_slot(task.id);
  const int given = worker->tasks_done() + static_cast<int>(worker->tasks().size());
  if (!config_->flags.worker_pool || (agent->max_tasks > 0 && given >= agent->max_tasks)) worker->retire();
  const bool let_in = governor_.pressure().is_over(Threshold::preempt);
  ask_breaker(task);
  runs_.emplace(task.id, Run{.task = task,
                             .worker = worker,
                             .agent = agent,
                             .taken = loop_.now(),
                             .let_in = let_in,
                             .alone = alone,
                             .footprint = footprint_of(task),
                             .learned = is_learned(task),
                             .found = worker->memory()});
  if (worker->state() == Worker::State::serving) begin(runs_.at(task.id));
}

void Dispatcher::arm_pump(TimePoint when) {
  // The earliest wins; an early pump is harmless and arms again.
  if (pump_timer_.is_running() && pump_at_ <= when) return;
  pump_at_ = when;
  pump_timer_.start(std::chrono::ceil<Duration>(when - loop_.now()));
}

void Dispatcher::housekeeping() {
  const TimePoint now = loop_.now();
  tasks_.expire(loop_.wall_now());
  pool_.end_idle(now - config_->workers.idle_timeout);
  const TimePoint next =
      std::min(pool_.next_idle_end(config_->workers.idle_timeout), now + housekeeping_pace);
  housekeeping_timer_.start(std::chrono::ceil<Duration>(next - now));
}

AgentFigures Dispatcher::figures(const std::string& agent) const {
  const auto found = figures_.find(agent);
  AgentFigures figures = found == figures_.end() ? AgentFigures{} : found->second;
  figures.running = static_cast<std::uint64_t>(
      std::ranges::count_if(runs_, [&](const auto& entry) { return entry.second.task.agent == agent; }));
  return figures;
}

std::span<const Tool> Dispatcher::tools_of(const std::string& agent) const {
  const auto found = tools_.find(agent);
  return found == tools_.end() ? std::span<const Tool>() : found->second;
}

Monitor::Activity Dispatcher::activity() const {
  Monitor::Activity activity;
  activity.workers = static_cast<int>(pool_.workers().size());
  activity.busy = !runs_.empty();
  for (const auto& worker : pool_.workers()) {
    if (worker->memory() >= worker->spec().memory_warning) continue;
    const Bytes warning = worker->spec().memory_warning;
    if (!activity.lowest_warning || warning < *activity.lowest_warning) activity.lowest_warning = warning;
  }
  return activity;
}

}  // namespace kurultai
