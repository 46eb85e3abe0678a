#include "supervisor/checking.h"

#include <algorithm>
#include <utility>

#include "protocol/utf8.h"
#include "supervisor/event_log.h"

namespace kurultai {
namespace {

// What is due beyond one turn of the loop comes in the next: a timer of 0 would be called in this one.
constexpr Duration next_turn{1};
constexpr std::size_t most_last_words = 200;

/// The last line, for people.
std::string last_line(const std::string& text) {
  const std::size_t end = text.find_last_not_of(" \t\r\n") + 1;
  const std::size_t start = text.substr(0, end).find_last_of("\r\n") + 1;  // npos + 1 is 0, both times
  std::string line = to_utf8(text.substr(start, end - start));
  std::ranges::replace_if(line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

/// The command as an agent of its own: in the place and with the rights of the one it checks.
AgentConfig agent_for(const HealthConfig& health, const Worker& checked) {
  AgentConfig agent;
  agent.name = checked.agent().name;
  agent.command = health.command;
  agent.env = checked.agent().env;
  agent.env["WORKER_ID"] = checked.id();
  agent.env["WORKER_PID"] = std::to_string(checked.pid());
  agent.env_pass = checked.agent().env_pass;
  agent.cwd = checked.agent().cwd;
  agent.user = checked.agent().user;
  agent.max_processes = Checking::command_processes;
  agent.start_timeout = 2 * health.rule.timeout;  // it is killed before, by the table's deadline
  return agent;
}

/// How a process that never said READY ended, without the words about that.
std::string end_of(const WorkerEnd& end) {
  static constexpr std::string_view suffix = " before READY";
  std::string text = end.message;
  if (text.ends_with(suffix)) text.resize(text.size() - suffix.size());
  return text;
}

}  // namespace

Checking::Checking(uv::Loop& loop, Pool& pool, std::function<void(Worker&)> on_unhealthy,
                   std::function<bool()> has_room)
    : loop_(loop),
      pool_(pool),
      on_unhealthy_(std::move(on_unhealthy)),
      has_room_(std::move(has_room)),
      timer_(loop, [this] { turn(); }),
      undertaker_(loop, [this] { graves_.clear(); }) {}

Checking::~Checking() = default;

void Checking::watch(const Worker& worker, const HealthConfig& health) {
  if (stopped_) return;
  const auto known = rules_.find(worker.id());
  if (known != rules_.end() && known->second == health) return;
  forget(worker);
  if (health.rule.strategy == HealthStrategy::passive) return;
  rules_.emplace(worker.id(), health);
  table_.watch(worker.id(), health.rule, loop_.now());
  arm();
}

void Checking::forget(const Worker& worker) {
  if (rules_.erase(worker.id()) == 0) return;
  table_.forget(worker.id());
  std::erase(waiting_, worker.id());
  if (const auto command = commands_.find(worker.id()); command != commands_.end())
    command->second.process->kill();
}

void Checking::arm() {
  const TimePoint next = table_.next();
  if (stopped_) return;
  if (may_start()) return timer_.start(next_turn);
  if (next == TimePoint::max()) return timer_.stop();
  timer_.start(std::max(next_turn, std::chrono::ceil<Duration>(next - loop_.now())));
}

void Checking::turn() {
  const TimePoint start = loop_.now();
  for (const HealthChecks::Due& due : table_.take_due(start, pings_a_turn)) {
    if (Worker* worker = pool_.find(due.worker)) look_at(*worker, due);
  }
  start_waiting();
  longest_turn_ = std::max<std::chrono::nanoseconds>(longest_turn_, loop_.now() - start);
  arm();
}

void Checking::look_at(Worker& worker, const HealthChecks::Due& due) {
  if (worker.state() != Worker::State::serving || worker.is_suspended()) return skip(worker);
  if (due.late) return miss(worker, *due.late);
  const HealthRule& rule = rules_.at(worker.id()).rule;
  if (rule.strategy == HealthStrategy::command) {
    if (commands_.contains(worker.id())) return skip(worker);  // the one before is still being swept
    return waiting_.push_back(worker.id());
  }
  // One that works may not listen meanwhile. One that has just answered for a task need not be asked.
  if (!worker.tasks().empty()) return skip(worker);
  if (worker.tasks_done() > 0 && worker.idle_since() + rule.interval > loop_.now())
    return table_.seen_well(worker.id(), worker.idle_since(), loop_.now());
  ask(worker);
}

void Checking::ask(Worker& worker) { worker.send(Ping{table_.begin(worker.id(), loop_.now())}); }

void Checking::skip(const Worker& worker) {
  counts_.skipped += 1;
  table_.skip(worker.id(), loop_.now());
}

bool Checking::heard(const Worker& worker, std::uint64_t seq) {
  const auto rule = rules_.find(worker.id());
  if (rule == rules_.end() || rule->second.rule.strategy != HealthStrategy::ping) return false;
  if (!table_.passed(worker.id(), seq, loop_.now())) return false;
  counts_.passed += 1;
  arm();
  return true;
}

void Checking::miss(Worker& worker, std::uint64_t check) {
  const HealthConfig& health = rules_.at(worker.id());
  const std::string within = " within " + to_string(health.rule.timeout);
  if (health.rule.strategy == HealthStrategy::ping) {
    // It was given a task before it could answer: that is another matter.
    if (!worker.tasks().empty()) return skip(worker);
    if (worker.tasks_done() > 0 && worker.idle_since() >= table_.under_way(worker.id()))
      return table_.seen_well(worker.id(), worker.idle_since(), loop_.now());
    return fail(worker, check, counts_.timed_out, "no PONG" + within);
  }
  if (const auto command = commands_.find(worker.id()); command != commands_.end())
    command->second.process->kill();
  fail(worker, check, counts_.timed_out, health.command.front() + ": did not end" + within);
}

void Checking::fail(Worker& worker, std::uint64_t check, std::uint64_t& counter, std::string reason) {
  if (!table_.failed(worker.id(), check, loop_.now(), std::move(reason))) return;
  counter += 1;
  const WorkerHealth& health = *table_.find(worker.id());
  if (health.failures == 1)
    log_warning("worker " + worker.id() + " of " + worker.agent().name + " is suspect: " + health.reason);
  if (health.status == HealthStatus::unhealthy) on_unhealthy_(worker);
}

bool Checking::may_start() const { return !waiting_.empty() && commands_.size() < most_commands; }

/// One a turn: to start a process costs as much as many PINGs.
void Checking::start_waiting() {
  if (!may_start()) return;
  const std::string id = std::move(waiting_.front());
  waiting_.pop_front();
  Worker* worker = pool_.find(id);
  if (worker == nullptr) return;
  if (worker->state() != Worker::State::serving || !has_room_()) return skip(*worker);
  start_command(*worker);
}

void Checking::start_command(Worker& worker) {
  const HealthConfig& health = rules_.at(worker.id());
  auto process = pool_.start_beside(worker, std::make_shared<const AgentConfig>(agent_for(health, worker)),
                                    command_limit, *this);
  if (!process && may_pass(process.error().code)) return skip(worker);
  const std::uint64_t check = table_.begin(worker.id(), loop_.now());
  if (!process) return fail(worker, check, counts_.failed, process.error().message);
  commands_.emplace(worker.id(), Command{*std::move(process), check});
}

void Checking::judge(const std::string& worker_id, const Command& command, const WorkerEnd& end) {
  Worker* worker = pool_.find(worker_id);
  if (worker == nullptr) return;
  if (end.exit_code == 0 && command.broken.empty()) {
    if (table_.passed(worker_id, command.check, loop_.now())) counts_.passed += 1;
    return;
  }
  if (end.cause == WorkerEnd::Cause::memory_budget && table_.under_way(worker_id))
    return skip(*worker);  // none of its doing
  std::string reason = command.broken.empty() ? end_of(end) : command.broken;
  const std::string said = last_line(command.last_words);
  if (command.broken.empty() && !said.empty() && !said.ends_with(reason)) reason += ": " + said;
  fail(*worker, command.check, counts_.failed, std::move(reason));
}

void Checking::stop() {
  stopped_ = true;
  timer_.stop();
  waiting_.clear();
  for (auto& [id, command] : commands_) command.process->kill();
}

void Checking::worker_ready(Worker& process) {
  command_of(process).broken =
      process.agent().command.front() + ": speaks as an agent would; a check ends by itself";
  process.kill();
}

void Checking::worker_said(Worker&, FromAgent) {}

void Checking::worker_logged(Worker& process, std::string_view text, bool) {
  const auto found = commands_.find(process.id());
  if (found == commands_.end()) return;
  Command& command = found->second;
  command.output += text.size();
  command.last_words += text.substr(text.size() - std::min(text.size(), most_last_words));
  if (command.last_words.size() > most_last_words)
    command.last_words.erase(0, command.last_words.size() - most_last_words);
  if (command.output <= most_output || !command.broken.empty()) return;
  command.broken = process.agent().command.front() + ": printed more than " +
                   to_string(Bytes{static_cast<std::int64_t>(most_output)});
  process.kill();
}

void Checking::worker_at_edge(Worker&) {}

void Checking::worker_oom(Worker& process) {
  if (!process.hit_own_cap()) return process.kill_for(WorkerEnd::Cause::memory_budget, "memory was short");
  process.kill_for(WorkerEnd::Cause::memory_cap,
                   process.agent().command.front() + ": exceeded its " + to_string(command_limit) + " cap");
}

void Checking::worker_swept(Worker&, int) {}

void Checking::worker_ending(Worker&) {}

void Checking::worker_gone(Worker& process, const WorkerEnd& end) {
  auto ended = commands_.extract(process.id());
  if (ended.empty()) return;
  judge(ended.key(), ended.mapped(), end);
  graves_.push_back(std::move(ended.mapped().process));
  undertaker_.start(Duration(0));
  arm();
  if (commands_.empty() && on_quiet_) on_quiet_();
}

}  // namespace kurultai
