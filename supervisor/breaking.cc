// The dispatcher's side of the circuit breakers. An agent that keeps failing gets no task until its back-off
// is over, and then one at a time; the others that were accepted wait. What agents call is counted the same
// way, over the BREAKER message.
#include <algorithm>

#include "supervisor/dispatcher.h"
#include "supervisor/workers/fill_command.h"

namespace kurultai {

namespace {

constexpr std::size_t max_unread = 64 * 1024;  // answers that wait for an agent to read them

/// What an mcp agent's host calls in vain is a call that was wrong, or too large: it says nothing of the
/// server.
bool is_callers_mistake(const AgentConfig& agent, FailReason reason, bool in_vain) {
  return agent.protocol == AgentProtocol::mcp && reason == FailReason::agent_error && in_vain;
}

bool counts_for_breaker(FailReason reason) {
  switch (reason) {
    case FailReason::agent_error:
    case FailReason::exit_code:
    case FailReason::signal:
    case FailReason::memory_cap:
    case FailReason::timeout:
    case FailReason::protocol_error:
    case FailReason::spawn_failed:
      return true;
    default:
      return false;
  }
}

BreakerChanged changed(std::string_view kind, std::string_view name, const BreakerChange& change) {
  return {kind, name, to_string(change.from), to_string(change.to)};
}

}  // namespace

CircuitBreaker& Dispatcher::breaker_of(const std::string& agent) {
  if (const auto known = breakers_.find(agent); known != breakers_.end()) return known->second;
  BreakerSettings settings = config_->circuit_breakers;
  settings.probe_timeout = Duration(0);  // a task may wait and run for long, but it ends
  return breakers_.try_emplace(agent, std::move(settings)).first->second;
}

/// How long its tasks are refused or held back for now. Commands that clients name have nothing in common.
Duration Dispatcher::open_for(const std::string& agent) const {
  const auto breaker = breakers_.find(agent);
  const bool acts = config_->flags.circuit_breakers && agent != command_agent;
  return acts && breaker != breakers_.end() ? breaker->second.retry_after(loop_.now()) : Duration(0);
}

Duration Dispatcher::held_back_for(const Task& task) const {
  const Duration wait = open_for(task.agent);
  return wait.count() > 0 && breakers_.at(task.agent).has_probe({task.id}) ? Duration(0) : wait;
}

bool Dispatcher::is_held_back(const Task& task) {
  const Duration wait = held_back_for(task);
  if (wait.count() > 0) arm_pump(loop_.now() + wait);
  return wait.count() > 0;
}

/// It is let through, or nothing is refused: where it is half-open, this task is its probe.
void Dispatcher::ask_breaker(const Task& task) {
  CircuitBreaker& breaker = breaker_of(task.agent);
  if (breaker.has_probe({task.id})) return;  // since it was submitted, or before it was sent back
  const auto pass = breaker.acquire(loop_.now(), {task.id});
  if (pass.change) events_.emit(task.id, changed("agent", task.agent, *pass.change));
}

/// Every attempt counts, and before its end is on disk: else many would follow a failing one meanwhile.
void Dispatcher::tell_breaker(const Task& task, const Verdict& verdict, bool in_vain) {
  const auto agent = agents_.find(task.agent);
  if (agent == agents_.end()) return;
  CircuitBreaker& breaker = breaker_of(task.agent);
  std::optional<BreakerChange> change;
  switch (verdict.kind) {
    case Verdict::Kind::send_back:     // it goes on with the probe,
    case Verdict::Kind::retry_larger:  // and so it does where its cap was too small for it
      return;
    case Verdict::Kind::complete:
      change = breaker.success(loop_.now(), {task.id});
      break;
    case Verdict::Kind::fail:
    case Verdict::Kind::quarantine:
    case Verdict::Kind::retry:
      if (counts_for_breaker(verdict.reason) && !is_callers_mistake(*agent->second, verdict.reason, in_vain))
        change = breaker.failure(loop_.now(), {task.id});
      break;
    case Verdict::Kind::cancel:
      break;
  }
  if (change) events_.emit(task.id, changed("agent", task.agent, *change));
  give_probe_back(task);
}

/// If it has it still: it never ran, or its end says nothing of its agent.
void Dispatcher::give_probe_back(const Task& task) {
  const auto breaker = breakers_.find(task.agent);
  if (breaker == breakers_.end() || !breaker->second.has_probe({task.id})) return;
  breaker->second.give_back({task.id});
  arm_pump(loop_.now());  // for one that is held back
}

void Dispatcher::on_breaker(Worker& worker, const BreakerRequest& request) {
  using Op = BreakerRequest::Op;
  // One that asks and does not listen gets no memory for that.
  if (request.op == Op::acquire && worker.unread() > max_unread) {
    worker.unknown_messages += 1;
    return;
  }
  const TimePoint now = loop_.now();
  const BreakerCaller caller{worker.id(), request.call};
  CircuitBreaker* breaker = called_breakers_.get(request.name, worker.agent().name, now);
  BreakerAnswer answer{.name = request.name, .call = request.call};
  if (breaker == nullptr) {  // a limit of ours must not stop its calls
    answer.note = "not counted: a name has 1 to " + std::to_string(BreakerTable::longest_name) +
                  " bytes, and there are at most " + std::to_string(BreakerTable::most) + " of them, " +
                  std::to_string(BreakerTable::most_of_one) + " of one agent";
    if (request.op == Op::acquire) worker.send(answer);
    return;
  }
  std::optional<BreakerChange> change;
  if (request.op == Op::success) change = breaker->success(now, caller);
  if (request.op == Op::failure) change = breaker->failure(now, caller);
  if (request.op == Op::release) breaker->give_back(caller);
  if (request.op == Op::acquire) {
    const auto pass = breaker->acquire(now, caller);
    change = pass.change;
    answer.allow = pass.allowed || !config_->flags.circuit_breakers;
    if (!answer.allow) answer.retry_after = pass.retry_after;
    worker.send(answer);
  }
  if (change) events_.emit("", changed("called", request.name, *change));
}

}  // namespace kurultai
