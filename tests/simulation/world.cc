#include "tests/simulation/world.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "protocol/codec.h"
#include "tests/simulation/agent.h"
#include "tests/simulation/host.h"

namespace kurultai::simulation {

namespace {

constexpr Bytes reserve = mebibytes(16);  // as main keeps for itself
constexpr std::uint64_t most_steps_to_settle = 5'000'000;

PoolSettings pool_settings() {
  PoolSettings settings;
  settings.launcher = "kurultai-worker";
  settings.max_line = 1 << 20;
  return settings;
}

std::uint64_t number_of(std::string_view worker_id) {
  std::uint64_t number = 0;
  std::from_chars(worker_id.data() + 1, worker_id.data() + worker_id.size(), number);
  return number;
}

/// The words behind `name` in a command line, or the value behind `name=` in an environment.
std::string word_after(const std::vector<std::string>& words, const std::string& name) {
  const auto at = std::ranges::find(words, name);
  return at == words.end() || at + 1 == words.end() ? "" : *(at + 1);
}
std::string value_of(const std::vector<std::string>& environment, const std::string& name) {
  for (const std::string& entry : environment) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return "";
}

}  // namespace

World::World(const Plan& plan, bool traces)
    : plan_(plan),
      setting_(setting_of(plan.seed)),
      raw_(*loop_.raw()),
      findings_(raw_, traces),
      kernel_(raw_, setting_.level, plan.calm ? Faults{} : setting_.faults),
      ledger_(findings_, raw_),
      config_(setting_.config),
      events_([this] { return loop_.wall_now(); }) {
  raw_.dice = Dice(seed_for(plan.seed, 0, 0));
  raw_.launch = [this](const uv::SpawnOptions& options) { return launch(options); };
  events_.add_sink([this](const Event& event) { told(event); });
  ledger_.configure(config_);
  dispatcher_ =
      std::make_unique<Dispatcher>(loop_, config_, kernel_, events_, pool_settings(),
                                   "/nonexistent/kurultai-simulation", "/nonexistent/kurultai-simulation");
  if (setting_.has_disk) {
    constexpr std::uint64_t of_disk = 11;
    disk_ = std::make_unique<Disk>(raw_, Dice(seed_for(plan.seed, of_disk, 0)),
                                   setting_.disk_fails && !plan.calm);
    dispatcher_->keep_tasks(*disk_, {});
  }
  invariants_ = std::make_unique<Invariants>(findings_, Scene{raw_, *dispatcher_, kernel_, ledger_});
  monitor_ = std::make_unique<Monitor>(
      loop_, kernel_,
      Monitor::Settings{*config_->memory.budget, config_->memory.thresholds, config_->memory.check_interval},
      [this] { return dispatcher_->activity(); },
      [this](const MemorySnapshot& snapshot) {
        dispatcher_->on_reading(snapshot);
        invariants_->after_reading(snapshot);
      });
  dispatcher_->attach(*monitor_);
  backstop_ = std::make_unique<Backstop>(loop_, kernel_, *dispatcher_);
  hurry_ = std::make_unique<uv::Timer>(loop_, [this] { dispatcher_->kill_workers(); });
  kernel_.on_cap_kill([this](const Group& group) {
    if (findings_.traces()) findings_.trace("kernel kills in " + group.name + " for its cap");
    ledger_.went_wrong(group.name, "");
  });
}

World::~World() = default;

Outcome World::run() {
  apply_limit();
  monitor_->start();
  plan_action();
  while (!findings_.violation() && raw_.schedule.deliver_next()) after_step();
  if (!findings_.violation()) {
    if (phase_ != Phase::over) findings_.violated("no livelock", "nothing is planned and tasks are open");
    Invariants::at_end(findings_, raw_, kernel_, ledger_);
  }
  return outcome();
}

void World::after_step() {
  if (phase_ == Phase::over) return;
  invariants_->after_step();
  ledger_.begin_step();
  const std::uint64_t steps = raw_.schedule.delivered();
  if (phase_ == Phase::asking && (steps >= plan_.steps || next_action_ >= plan_.actions)) {
    phase_ = Phase::settling;
    if (setting_.drains_at_once) drain();
  }
  if (phase_ == Phase::settling && ledger_.open() == 0) drain();
  if (phase_ == Phase::drained) close();
  if (steps > plan_.steps + most_steps_to_settle) {
    findings_.violated("no livelock", "it does not come to its end");
  }
}

// As main does when it is told to leave.
void World::drain() {
  if (findings_.traces()) findings_.trace("drain");
  phase_ = Phase::draining;
  drains_ += 1;
  if (setting_.hurries) hurry_->start(setting_.drain_limit + Duration(500));
  dispatcher_->drain(setting_.drain_limit, [this](const DrainStatistics&) {
    if (phase_ != Phase::draining) findings_.violated("no livelock", "a drain was answered twice");
    phase_ = Phase::drained;
  });
}

void World::close() {
  decisions_ = invariants_->decisions();
  foreseen_ = invariants_->foreseen();
  phase_ = Phase::over;
  monitor_->stop();
  backstop_.reset();
  hurry_.reset();
  invariants_.reset();
  monitor_.reset();
  dispatcher_.reset();
  disk_.reset();
}

void World::plan_action() {
  if (next_action_ >= plan_.actions || phase_ != Phase::asking) return;
  const std::size_t number = next_action_++;
  const Planned planned = action_of(plan_.seed, number, setting_);
  raw_.schedule.after(planned.gap, [this, number] { act(number); });
}

void World::act(std::size_t number) {
  if (phase_ != Phase::asking) return;
  if (!plan_.left_out.contains(number)) {
    actions_ += 1;
    auto planned = action_of(plan_.seed, number, setting_);
    std::visit([this](auto& action) { carry_out(std::move(action)); }, planned.action);
  }
  plan_action();
}

void World::carry_out(Submission submission) {
  if (findings_.traces()) {
    findings_.trace("submit task " + submission.payload + ": " + submission.agent + ", " +
                    std::string(to_string(submission.priority.value_or(Priority::normal))));
  }
  dispatcher_->submit(std::move(submission), [this](const auto& task) {
    if (task) submitted_.push_back((*task)->id);
  });
}

void World::carry_out(CancelOne cancel) {
  if (submitted_.size() <= cancel.back) return;
  const std::string& id = submitted_[submitted_.size() - 1 - cancel.back];
  const Task* task = dispatcher_->tasks().find(id);
  if (task == nullptr || is_final(task->state) || task->ends_as) return;
  if (findings_.traces()) findings_.trace("cancel task " + task->payload);
  ledger_.cancelled(id);
  if (dispatcher_->cancel(id, "simulated") != CancelAnswer::accepted) {
    findings_.violated("no lost task", "an open task could not be cancelled");
  }
}

void World::carry_out(const Reload& reload) {
  if (findings_.traces()) findings_.trace("reload, budget " + to_string(*reload.config->memory.budget));
  config_ = reload.config;
  ledger_.configure(config_);
  dispatcher_->configure(config_);
  monitor_->configure({*config_->memory.budget, config_->memory.thresholds, config_->memory.check_interval});
  apply_limit();
}

void World::apply_limit() {
  const Bytes limit = *config_->memory.budget - reserve;
  backstop_->set(limit);
  invariants_->total_changes(limit);
}

Result<Launched> World::launch(const uv::SpawnOptions& options) {
  const std::string worker = value_of(options.environment, "WORKER_ID");
  const std::string name = value_of(options.environment, "AGENT");
  const Nature nature = nature_of(plan_.seed, number_of(worker));
  if (nature.start == Nature::Start::cannot_be_launched) {
    ledger_.went_wrong(worker, name);
    return failure("start " + name + ": simulated", EAGAIN);
  }
  last_pid_ += 2;  // one for its second process
  ChildPipes pipes;
  const Launched launched{last_pid_,
                          {raw_.add_pipe(pipes.in), raw_.add_pipe(pipes.out), raw_.add_pipe(pipes.err)}};
  Child::Circumstances circumstances{
      raw_, kernel_, *this, {last_pid_, worker, name}, nature, std::move(pipes), [this](Child& gone) {
        raw_.schedule.after(Duration(0), [this, pid = gone.pid] { children_.erase(pid); });
      }};
  const bool hosted = std::ranges::find(options.argv, "--exec-host") != options.argv.end();
  std::unique_ptr<Child> child;
  if (hosted) {
    child = std::make_unique<Host>(std::move(circumstances));
  } else {
    child = std::make_unique<Agent>(std::move(circumstances));
  }
  kernel_.enter(word_after(options.argv, "--join"), *child);
  child->start();
  children_[last_pid_] = std::move(child);
  return launched;
}

// Nobody is told of what could still be lost.
void World::is_on_disk(const TaskEvent& event) {
  const bool accepted = event.kind == TaskEvent::Kind::queued && event.why.empty();
  if (disk_ == nullptr || (!accepted && !is_final(event.task.state))) return;
  const TaskState* kept = disk_->state_of(event.task.id);
  if (kept == nullptr || (is_final(event.task.state) && *kept != event.task.state)) {
    findings_.violated("no lost task", "task " + event.task.payload + " was said to be " +
                                           std::string(to_string(event.task.state)) +
                                           " before that was kept");
  }
}

void World::told(const Event& event) {
  ledger_.on_event(event);
  if (const auto* task = std::get_if<TaskEvent>(&event.body)) is_on_disk(*task);
  if (invariants_ == nullptr) return;
  const auto* worker = std::get_if<WorkerEvent>(&event.body);
  if (worker != nullptr && worker->kind == WorkerEvent::Kind::spawned) invariants_->spawned();
  const auto* task = std::get_if<TaskEvent>(&event.body);
  if (task == nullptr) return;
  if (task->kind == TaskEvent::Kind::preempted) invariants_->sent_back(task->task);
  if (task->kind == TaskEvent::Kind::suspended) invariants_->suspended(task->task);
  if (task->kind == TaskEvent::Kind::resumed) invariants_->resumed(task->task);
}

Onlooker::Part World::task_came(const Child& child, const TaskMessage& task) {
  const std::uint64_t run = ledger_.task_came(child.identity().worker, task.task_id, task.attempt);
  const Fate* fate = ledger_.find(task.task_id);
  if (fate == nullptr) return {};
  const TaskState* kept = disk_ == nullptr ? nullptr : disk_->state_of(task.task_id);
  if (disk_ != nullptr && !fate->idempotent && (kept == nullptr || *kept != TaskState::running)) {
    findings_.violated("no lost task", "a task that may run once only began before that was kept");
  }
  if (findings_.traces()) {
    findings_.trace(child.identity().worker + " got task " + std::to_string(fate->number) + ", run " +
                    std::to_string(run));
  }
  return {run, whim_of(plan_.seed, fate->number, static_cast<std::uint64_t>(fate->arrivals))};
}

void World::task_came_twice(const Child& child, const std::string& task_id) {
  findings_.violated("attempts accounted",
                     child.identity().worker + " was given " + task_id + ", which it has");
}

// Messages name no attempt: nobody could tell a late word from a true one.
bool World::is_given(const Child& child, const std::string& task_id) const {
  const Fate* fate = ledger_.find(task_id);
  return fate == nullptr ||
         (fate->is_open() && (fate->worker == child.identity().worker || fate->worker.empty()));
}

void World::preempt_came(const Child& child, const std::string& task_id) {
  if (phase_ == Phase::over) return;
  invariants_->preempt_came(child.identity().name, task_id);
}

void World::said(const Child& child, const FromAgent& message) {
  const auto* failed = std::get_if<Failed>(&message);
  const auto* preempted = std::get_if<Preempted>(&message);
  if (failed != nullptr) ledger_.answered(failed->task_id, false);
  if (preempted != nullptr) ledger_.answered(preempted->task_id, true);
  if (!findings_.traces()) return;
  std::string line = encode(message);
  line.pop_back();
  findings_.trace(child.identity().worker + " says " + line);
}

void World::went_wrong(const Child& child, const char* how) {
  if (findings_.traces()) findings_.trace(child.identity().worker + " " + how);
  ledger_.went_wrong(child.identity().worker, child.identity().name);
}

Outcome World::outcome() {
  Outcome outcome;
  outcome.violation = findings_.violation();
  outcome.steps = raw_.schedule.delivered();
  outcome.actions = next_action_;
  outcome.acted = actions_;
  outcome.counts = ledger_.counts();
  outcome.decisions = invariants_ != nullptr ? invariants_->decisions() : decisions_;
  outcome.foreseen = invariants_ != nullptr ? invariants_->foreseen() : foreseen_;
  outcome.oom_kills = kernel_.oom_kills();
  outcome.waits = kernel_.waits();
  outcome.drains = drains_;
  outcome.suspensions = kernel_.suspensions();
  outcome.trace = findings_.lines();
  return outcome;
}

}  // namespace kurultai::simulation
