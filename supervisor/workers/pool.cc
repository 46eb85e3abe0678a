#include "supervisor/workers/pool.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace kurultai {

namespace {

WorkerView::Standing standing_of(const Worker& worker) {
  switch (worker.state()) {
    case Worker::State::starting:
      return WorkerView::Standing::starting;
    case Worker::State::serving:
      return worker.tasks().empty() ? WorkerView::Standing::idle : WorkerView::Standing::busy;
    case Worker::State::ending:
    case Worker::State::gone:
      return WorkerView::Standing::ending;
  }
  return WorkerView::Standing::ending;
}

}  // namespace

bool may_pass(int code) {
  return code == ENOMEM || code == ENOSPC || code == EAGAIN || code == EBUSY || code == EMFILE ||
         code == ENFILE;
}

Pool::Pool(uv::Loop& loop, Controller& controller, PoolSettings settings, WorkerListener& listener)
    : loop_(loop),
      controller_(controller),
      settings_(std::move(settings)),
      listener_(listener),
      places_(loop, settings_.places,
              [this](const std::string& id, Bytes holds, Bytes limit) { end_full(id, holds, limit); }),
      undertaker_(loop, [this] { graves_.clear(); }) {}

Pool::~Pool() = default;

LaunchInput Pool::launch_input(const std::string& id, const AgentConfig& agent, Bytes limit) const {
  LaunchInput input;
  input.launcher = settings_.launcher;
  input.instance = settings_.instance;
  input.worker_id = id;
  input.agent = &agent;
  input.memory_limit = limit;
  input.supervisor_pid = ::getpid();
  input.environment = settings_.environment;
  input.nice = settings_.nice;
  input.state = settings_.state;
  input.socket = settings_.socket;
  input.tmp = places_.tmp();
  return input;
}

/// Nothing: the supervisor's own. `own_uid` is what `auto` gives.
Result<std::optional<User>> Pool::user_of(const std::string& id, const AgentConfig& agent, unsigned own_uid) {
  if (agent.user.empty()) return std::nullopt;
  if (agent.user == "auto") return User{own_uid, own_uid, "kurultai-" + id, "/"};
  auto known = users_.find(agent.user);
  if (known == users_.end()) {
    auto user = look_up_user(agent.user);
    if (!user) return std::unexpected(user.error());
    known = users_.emplace(agent.user, std::move(*user)).first;
  }
  return known->second;
}

Result<Worker*> Pool::spawn(const std::shared_ptr<const AgentConfig>& agent, Bytes limit, Bytes warning,
                            std::optional<Bytes> edge, int oom_score_adj) {
  const std::string id = "w" + std::to_string(++last_number_);
  LaunchInput input = launch_input(id, *agent, limit);
  input.oom_score_adj = oom_score_adj;
  const bool has_own_uid = agent->user == "auto";
  const auto uid = has_own_uid ? free_uid() : std::optional(0U);
  if (!uid) return failure("no uid of its own is left for a worker of agent '" + agent->name + "'", ENOMEM);
  const auto user = user_of(id, *agent, *uid);
  if (!user) return std::unexpected(user.error());
  input.user = *user;
  input.payloads = settings_.payloads;
  if (has_place(*agent)) input.place = places_.of_worker(id, input.user.has_value());
  auto group =
      controller_.make_group(id, {limit, agent->max_processes, agent->on_child_oom == OnChildOom::fail});
  if (!group) return std::unexpected(group.error());
  if (edge) {
    // Without one it could grow to its cap, whatever others hold.
    if (const auto set = (*group)->set_edge(*edge); !set) return failure(set.error().message, ENOMEM);
  }
  input.group_options = (*group)->launch_options();

  WorkerSpec spec{id, agent, limit, warning, settings_.max_line, agent->concurrency};
  if (input.user) spec.uid = input.user->uid;
  spec.is_held = is_hosted(agent->protocol) || controller_.slow();
  spec.oom_score_adj = oom_score_adj;
  workers_.push_back(
      std::make_unique<Worker>(loop_, std::move(spec), std::move(*group), launch_options(input), listener_));
  if (const auto& failed = workers_.back()->never_started(); failed && may_pass(failed->code)) {
    const Error error = *failed;
    workers_.pop_back();
    return std::unexpected(error);
  }
  if (has_own_uid) uids_[id] = *uid;
  if (agent->protocol != AgentProtocol::exec) watch_tmp(*workers_.back(), input.place);
  return workers_.back().get();
}

Result<std::unique_ptr<Worker>> Pool::start_beside(const Worker& worker,
                                                   const std::shared_ptr<const AgentConfig>& agent,
                                                   Bytes limit, WorkerListener& listener) {
  // The kernel's way to say that all memory of a group or machine goes to something else first: 1000.
  static constexpr int first_to_go = 1000;
  LaunchInput input = launch_input(worker.id(), *agent, limit);
  input.oom_score_adj = first_to_go;
  const auto user = user_of(worker.id(), *agent, worker.spec().uid.value_or(0));
  if (!user) return std::unexpected(user.error());
  input.user = *user;
  auto group = controller_.make_group(worker.id() + "-check", {limit, agent->max_processes, true});
  if (!group) return std::unexpected(group.error());
  input.group_options = (*group)->launch_options();
  WorkerSpec spec{worker.id(), agent, limit, limit, settings_.max_line, 1};
  spec.is_spoken_to = false;
  auto process =
      std::make_unique<Worker>(loop_, std::move(spec), std::move(*group), launch_options(input), listener);
  if (const auto& failed = process->never_started(); failed && may_pass(failed->code))
    return std::unexpected(*failed);
  return process;
}

std::optional<unsigned> Pool::free_uid() const {
  const OwnUsers& own = settings_.own_users;
  for (unsigned uid = own.first; uid < own.first + own.count; ++uid) {
    if (std::ranges::find(uids_, uid, &std::pair<const std::string, unsigned>::second) == uids_.end())
      return uid;
  }
  return std::nullopt;
}

std::string Pool::place_of(const Worker& worker) const {
  return places_.of_worker(worker.id(), worker.spec().uid.has_value());
}

/// Where a mount does not limit it.
void Pool::watch_tmp(const Worker& worker, const std::string& place) {
  const AgentConfig& agent = worker.agent();
  const bool mounted = places_.tmp() != TmpRight::directory || agent.sandbox.kind == SandboxKind::bubblewrap;
  if (agent.tmp.is_private && !mounted) places_.watch(place + "/tmp", worker.id(), agent.tmp.size);
}

void Pool::end_full(const std::string& worker_id, Bytes holds, Bytes limit) {
  Worker* const worker = find(worker_id);
  if (worker == nullptr) return;
  const bool countless = holds.count == std::numeric_limits<std::int64_t>::max();
  worker->kill_for(WorkerEnd::Cause::protocol_error,
                   "its tmp holds " + (countless ? std::string("too many files") : to_string(holds)) +
                       ", of " + to_string(limit) +
                       " (tmp.size; looked at once a second, for nothing can be mounted here)");
}

void Pool::begin_in_place(const Worker& worker, const std::string& name) {
  if (has_place(worker.agent())) watch_tmp(worker, place_of(worker) + "/" + name);
}

void Pool::end_in_place(const Worker& worker, const std::string& name) {
  if (!has_place(worker.agent())) return;
  const std::string place = place_of(worker) + "/" + name;
  places_.forget(place + "/tmp");
  places_.remove(place);
}

Worker* Pool::find(const std::string& id) {
  const auto found = std::ranges::find_if(workers_, [&](const auto& worker) { return worker->id() == id; });
  return found == workers_.end() ? nullptr : found->get();
}

std::vector<WorkerView> Pool::views() const {
  std::vector<WorkerView> views;
  views.reserve(workers_.size());
  for (const auto& worker : workers_) {
    views.push_back({worker->id(), worker->agent().name, worker->spec().memory_limit, standing_of(*worker),
                     worker->free_slots(), worker->idle_since()});
  }
  return views;
}

int Pool::active() const {
  return static_cast<int>(
      std::ranges::count_if(workers_, [](const auto& worker) { return !worker->tasks().empty(); }));
}

int Pool::idle() const {
  return static_cast<int>(std::ranges::count_if(
      workers_, [](const auto& worker) { return standing_of(*worker) == WorkerView::Standing::idle; }));
}

Bytes Pool::idle_memory() const {
  Bytes sum;
  for (const auto& worker : workers_) {
    if (standing_of(*worker) == WorkerView::Standing::idle) sum += worker->memory();
  }
  return sum;
}

void Pool::end_idle(TimePoint since, const std::string& agent) {
  for (const auto& worker : workers_) {
    if (standing_of(*worker) != WorkerView::Standing::idle || worker->idle_since() > since) continue;
    if (agent.empty() || worker->agent().name == agent) worker->end(worker->agent().grace);
  }
}

TimePoint Pool::next_idle_end(Duration timeout) const {
  TimePoint next = TimePoint::max();
  for (const auto& worker : workers_) {
    if (standing_of(*worker) == WorkerView::Standing::idle)
      next = std::min(next, worker->idle_since() + timeout);
  }
  return next;
}

void Pool::retire(const std::string& agent) {
  for (const auto& worker : workers_) {
    if (worker->agent().name == agent) worker->retire();
  }
  end_idle(loop_.now(), agent);
}

void Pool::end_all(Duration grace) {
  for (const auto& worker : workers_) worker->end(grace);
}

void Pool::kill_all() {
  for (const auto& worker : workers_) worker->kill();
}

void Pool::kill_idle() {
  for (const auto& worker : workers_) {
    const bool starts = worker->state() == Worker::State::starting;
    if (worker->tasks().empty() && !starts) worker->kill();
  }
}

void Pool::bury(Worker& worker, const WorkerEnd& end, bool had_tasks) {
  const std::string agent = worker.agent().name;
  // One that served its tasks and left with status 0 did nothing wrong; a command of an exec task has its own
  // fate.
  const bool well = end.cause == WorkerEnd::Cause::asked || end.cause == WorkerEnd::Cause::group_lost ||
                    (end.cause == WorkerEnd::Cause::exited && end.exit_code == 0 && !had_tasks);
  const bool abnormal = !well && worker.agent().protocol != AgentProtocol::exec;
  if (abnormal) {
    budget(agent).abnormal_end(loop_.now());
    restarts_[agent] += 1;
  }
  if (const auto own = uids_.find(worker.id()); own != uids_.end()) clear_user(own->first, own->second);
  if (has_place(worker.agent())) {
    places_.forget_worker(worker.id());
    places_.remove(place_of(worker));
  }
  const auto found =
      std::ranges::find_if(workers_, [&](const auto& other) { return other.get() == &worker; });
  graves_.push_back(std::move(*found));
  workers_.erase(found);
  undertaker_.start(Duration(0));
}

/// No other worker becomes this user while something of him is left.
void Pool::clear_user(const std::string& worker_id, unsigned uid) {
  static constexpr std::chrono::milliseconds slice{100};
  const auto removal = std::make_shared<Removal>(Removal::done);
  run_on_thread(
      loop_, [uid, removal] { *removal = remove_left_in_memory({uid, 1}, slice); },
      [this, alive = std::weak_ptr(alive_), worker_id, uid, removal] {
        if (alive.expired()) return;
        if (*removal == Removal::more) return clear_user(worker_id, uid);
        uids_.erase(worker_id);
      });
}

RestartBudget& Pool::budget(const std::string& agent) {
  return budgets_.try_emplace(agent, max_restarts_per_hour_).first->second;
}

TimePoint Pool::ready_at(const std::string& agent, TimePoint now) { return budget(agent).ready_at(now); }

int Pool::restarts(const std::string& agent) const {
  const auto found = restarts_.find(agent);
  return found == restarts_.end() ? 0 : found->second;
}

void Pool::set_max_restarts_per_hour(int max) {
  max_restarts_per_hour_ = max;
  for (auto& [agent, budget] : budgets_) budget.set_max_per_hour(max);
}

}  // namespace kurultai
