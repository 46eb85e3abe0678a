// The dispatcher: what is accepted and what is refused; what waits is cancelled.
#include <algorithm>

#include "config/load.h"
#include "protocol/mcp_call.h"
#include "supervisor/dispatcher.h"
#include "supervisor/workers/fill_command.h"

namespace kurultai {

namespace {

/// When a drain is over nobody here knows when the next one starts.
constexpr std::chrono::seconds until_next_supervisor{30};

/// What an mcp agent is to call; a payload that came as bytes is not read before its task runs.
std::optional<Refusal> wrong_call(const Submission& submission, const AgentConfig& agent) {
  if (agent.protocol != AgentProtocol::mcp || !submission.payload_file.path.empty()) return {};
  const auto call = read_mcp_call(submission.payload);
  if (call) return {};
  return Refusal{Refusal::Code::invalid_task, call.error().message};
}

}  // namespace

std::string_view to_string(Refusal::Code code) {
  switch (code) {
    case Refusal::Code::queue_full:
      return "queue_full";
    case Refusal::Code::memory_pressure:
      return "memory_pressure";
    case Refusal::Code::circuit_open:
      return "circuit_open";
    case Refusal::Code::draining:
      return "draining";
    case Refusal::Code::invalid_task:
      return "invalid_task";
    case Refusal::Code::unknown_agent:
      return "unknown_agent";
    case Refusal::Code::key_conflict:
      return "key_conflict";
    case Refusal::Code::storage_unavailable:
      return "storage_unavailable";
  }
  return "invalid_task";
}

/// Where a submission of this priority would stand.
Turns::Line Dispatcher::line_for(Priority priority) const {
  const QueueLimits& limits = queue_.limits();
  const std::size_t level = limits.per_level[static_cast<std::size_t>(priority)];
  const auto left = [](std::size_t limit, std::size_t used) { return limit - std::min(limit, used); };
  const TimePoint now = loop_.now();
  TimePoint last_taken = TimePoint::min();
  for (const auto& [id, run] : runs_) last_taken = std::max(last_taken, run.taken);
  const auto youngest = runs_.empty() ? Duration(0) : std::chrono::duration_cast<Duration>(now - last_taken);
  Turns::Line line{};
  for (const Priority other : all_priorities) {
    if (other <= priority) line.ahead += queue_.waiting(other);
  }
  line.free = std::min(left(limits.max_depth, queue_.depth()), left(level, queue_.waiting(priority)));
  line.places = std::min(limits.max_depth, level);
  line.parallel = runs_.size();  // what memory allows just now, and the slots of each worker
  line.service = service_time_.expected(youngest);
  if (governor_.refuses_work() && config_->flags.memory_governance) {
    // The end of one of those that run is the least that memory waits for.
    line.closed = memory_refusals_.left(line.service / std::max<std::int64_t>(std::ssize(runs_), 1), now);
  }
  return line;
}

std::optional<Refusal> Dispatcher::refusal(Priority priority) const {
  if (is_draining()) {
    const auto left = std::chrono::ceil<std::chrono::seconds>(drain_until_ - loop_.now());
    return Refusal{Refusal::Code::draining, "the supervisor is draining",
                   left.count() > 0 ? left : until_next_supervisor};
  }
  if (governor_.refuses_work() && config_->flags.memory_governance) {
    const int percent = static_cast<int>(governor_.pressure().ratio() * 100);
    return Refusal{Refusal::Code::memory_pressure,
                   "memory is at " + std::to_string(percent) + " % of the budget; new work is refused",
                   turns_.expected(line_for(priority), priority, loop_.now())};
  }
  return {};
}

std::optional<Refusal> Dispatcher::no_place(const QueuedTask& waiting) const {
  const auto admission = queue_.admits(waiting, governor_.skips_heartbeats());
  const auto* full = std::get_if<TaskQueue::Full>(&admission);
  if (full == nullptr) return {};
  const auto& limits = queue_.limits();
  if (full->level) {
    const std::size_t limit = limits.per_level[static_cast<std::size_t>(*full->level)];
    return Refusal{Refusal::Code::queue_full, "the queue holds its limit of " + std::to_string(limit) + " " +
                                                  std::string(to_string(*full->level)) + " tasks"};
  }
  return Refusal{Refusal::Code::queue_full, "the queue is full (" + std::to_string(queue_.depth()) + " of " +
                                                std::to_string(limits.max_depth) + ")"};
}

std::optional<Refusal> Dispatcher::unready() const {
  constexpr Priority usual = Priority::normal;
  if (auto refused = refusal(usual)) return refused;
  const bool needs_disk = std::ranges::any_of(
      agents_, [](const auto& named) { return named.second->durability == Durability::full; });
  if (needs_disk && journal_ != nullptr && !journal_->trouble().empty())
    return cannot_keep(journal_->trouble());
  auto full = no_place({"", "", usual});
  if (!full) return {};
  Turns::Line line = line_for(usual);
  line.free = 0;
  full->retry_after = turns_.expected(line, usual, loop_.now());
  return full;
}

std::optional<Refusal> Dispatcher::objection_to(const Submission& submission, Priority priority) const {
  const auto agent = agent_of(submission.agent);
  if (agent == nullptr) {
    const bool command = submission.agent == command_agent;
    return Refusal{Refusal::Code::unknown_agent,
                   command ? "commands are not allowed here; set exec.allow: true in the configuration"
                           : "there is no agent '" + submission.agent + "' in the configuration"};
  }
  if (auto refused = refusal(priority)) return refused;
  if (agent->durability == Durability::full && journal_ != nullptr && !journal_->trouble().empty())
    return cannot_keep(journal_->trouble());
  const std::int64_t payload = submission.payload_file.bytes;
  if (payload > 0 && payload_bytes_ + payload > config_->store.max_spool.count) {
    return cannot_keep("payloads of tasks that have not ended take up store.max_spool, " +
                       to_string(config_->store.max_spool));
  }
  if (auto full = no_place({"", submission.agent, priority})) return full;
  if (const Duration wait = open_for(agent->name); wait.count() > 0 && agent->on_open == OnOpen::reject) {
    return Refusal{Refusal::Code::circuit_open,
                   "agent '" + agent->name + "' keeps failing; its circuit is open",
                   std::chrono::ceil<std::chrono::seconds>(wait)};
  }
  return {};
}

/// Who is refused for now is given a time to come again, which counts for those behind.
std::expected<void, Refusal> Dispatcher::check(const Submission& submission, Priority priority) {
  auto refused = objection_to(submission, priority);
  if (!refused) return {};
  Turns::Line line = line_for(priority);
  if (refused->code == Refusal::Code::queue_full) line.free = 0;
  if (refused->code == Refusal::Code::queue_full || refused->code == Refusal::Code::memory_pressure)
    refused->retry_after = turns_.promise(line, priority, loop_.now());
  return std::unexpected(*std::move(refused));
}

Refusal Dispatcher::cannot_keep(const std::string& why) {
  return {Refusal::Code::storage_unavailable, "the task cannot be written down: " + why,
          std::chrono::seconds(1)};
}

/// Only an exec agent's tasks have one.
std::expected<FilledCommand, Refusal> Dispatcher::command_of(const Submission& submission,
                                                             const AgentConfig& agent) const {
  if (agent.protocol != AgentProtocol::exec) return FilledCommand{};
  auto command = fill_command(agent, submission.payload);
  if (!command) return std::unexpected(Refusal{Refusal::Code::invalid_task, command.error().message});
  const auto budget = config_->memory.budget;
  if (command->memory_limit && budget && *command->memory_limit > *budget) {
    return std::unexpected(
        Refusal{Refusal::Code::invalid_task, "memory of " + to_string(*command->memory_limit) +
                                                 " is more than memory.budget, " + to_string(*budget)});
  }
  return *std::move(command);
}

bool Dispatcher::would_refuse(const Submission& submission) const {
  const std::string& key = submission.idempotency_key;
  if (!key.empty() && tasks_.find_key(submission.agent, key) != nullptr) return false;
  return objection_to(submission, submission.priority.value_or(Priority::normal)) ||
         !command_of(submission, *agent_of(submission.agent));
}

std::optional<Refusal> Dispatcher::turn_away(const Submission& submission) {
  if (!would_refuse(submission)) return {};
  const Priority priority = submission.priority.value_or(Priority::normal);
  const auto good = check(submission, priority);
  Refusal refusal = good ? command_of(submission, *agent_of(submission.agent)).error() : good.error();
  refuse(submission, priority, refusal);
  return refusal;
}

void Dispatcher::submit(Submission submission, Answer answer) {
  const Priority priority = submission.priority.value_or(Priority::normal);
  const auto refused = [&](const Refusal& refusal) {
    refuse(submission, priority, refusal);
    answer(std::unexpected(refusal));
  };
  if (!submission.idempotency_key.empty()) {
    if (const Task* known = tasks_.find_key(submission.agent, submission.idempotency_key))
      return submit_again(*known, submission, std::move(answer));
  }
  if (auto good = check(submission, priority); !good) return refused(good.error());
  const auto agent = agent_of(submission.agent);
  const auto command = command_of(submission, *agent);
  if (!command) return refused(command.error());
  if (const auto wrong = wrong_call(submission, *agent)) return refused(*wrong);
  if (governor_.refuses_work()) events_.emit("", Withheld{"reject", {}, governor_.pressure().ratio()});

  Task fresh;
  fresh.agent = agent->name;
  fresh.payload = std::move(submission.payload);
  fresh.payload_file = std::move(submission.payload_file);
  fresh.priority = priority;
  fresh.timeout = submission.timeout.value_or(agent->timeout);
  fresh.retries = submission.retries.value_or(agent->retries);
  fresh.memory_limit = command->memory_limit;
  fresh.idempotency_key = std::move(submission.idempotency_key);
  fresh.size_class = std::move(submission.size_class);
  fresh.submitted_at = loop_.wall_now();
  fresh.queued_since = loop_.now();
  fresh.durable = journal_ != nullptr && agent->durability == Durability::full;
  if (!fresh.payload_file.path.empty()) count_payload(fresh.payload_file.bytes);
  Task& task = tasks_.add(std::move(fresh), loop_.wall_now());
  if (agent->on_open == OnOpen::reject) ask_breaker(task);  // or many would be taken for the one probe
  const auto admission = queue_.push(queued(task), governor_.skips_heartbeats());
  const auto* place = std::get_if<TaskQueue::Accepted>(&admission);
  auto evicted = place == nullptr ? std::vector<std::string>() : place->evicted;
  record_submitted(task, evicted);
  accept(task, std::move(evicted), std::move(answer));
}

void Dispatcher::submit(std::vector<Submission> batch, const BatchAnswer& answer) {
  // One for all: it knows of every place of the batch, and each task holds on to it.
  const auto shared = std::make_shared<const BatchAnswer>(answer);
  const auto submit_all = [&] {
    for (std::size_t at = 0; at < batch.size(); ++at)
      submit(std::move(batch[at]), [shared, at](const auto& task) { (*shared)(at, task); });
  };
  if (journal_ == nullptr) return submit_all();
  journal_->in_one_commit(submit_all);
}

void Dispatcher::submit_again(const Task& known, const Submission& submission, Answer answer) {
  const PayloadFile& file = known.payload_file;
  const bool same = known.payload == submission.payload && file.bytes == submission.payload_file.bytes &&
                    file.digest == submission.payload_file.digest;
  if (!same) {
    const Refusal refusal{Refusal::Code::key_conflict, "idempotency key '" + submission.idempotency_key +
                                                           "' was used with another payload by task " +
                                                           known.id};
    refuse(submission, submission.priority.value_or(Priority::normal), refusal);
    return answer(std::unexpected(refusal));
  }
  if (known.accepted) return answer(&known);
  unanswered_[known.id].push_back(std::move(answer));
}

void Dispatcher::refuse(const Submission& submission, Priority priority, const Refusal& refusal) {
  record(RefusedSeen{loop_.now(), submission.agent, priority, to_string(refusal.code)});
  events_.emit("", TaskRejected{submission.agent, priority, to_string(refusal.code), refusal.message});
}

CancelAnswer Dispatcher::cancel(const std::string& task_id, const std::string& reason) {
  Task* task = tasks_.find(task_id);
  if (task == nullptr) return CancelAnswer::not_found;
  if (is_final(task->state) || task->ends_as) return CancelAnswer::already_finished;
  task->cancel_asked = true;
  if (const auto run = runs_.find(task_id); run != runs_.end()) {
    stop_run(run->second, Intent::cancel, reason);
  } else {
    queue_.remove(task_id);
    end_waiting(*task, TaskState::cancelled, FailReason::cancelled, reason);
  }
  return CancelAnswer::accepted;
}

/// A task that is in no worker's hands comes to its end.
void Dispatcher::end_waiting(Task& task, TaskState state, FailReason reason, std::string message) {
  task.waited = std::chrono::duration_cast<Duration>(loop_.now() - task.queued_since);
  finish(task, state, TaskError{reason, std::move(message), "", {}, {}});
}

}  // namespace kurultai
