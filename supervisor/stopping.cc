// The dispatcher: a run is stopped step by step, each with its deadline; a worker that is to take no more
// ends.
#include <algorithm>

#include "supervisor/dispatcher.h"

namespace kurultai {

namespace {

constexpr Duration term_to_kill{1000};  // between SIGTERM and SIGKILL of a worker's tree
constexpr Duration host_margin{1000};   // the exec host stops its command itself; this much later we do

}  // namespace

void Dispatcher::on_deadline(const std::string& task_id) {
  Run& run = runs_.at(task_id);
  if (run.intent != Intent::none) return next_stop_step(run);
  const TimePoint now = loop_.now();
  const TimePoint deadline = run.task.run_since + run.task.timeout;
  const Duration stall = run.agent->stall_timeout;
  const TimePoint stalled = stall.count() > 0 ? run.last_progress + stall : TimePoint::max();
  if (now >= deadline) return stop_run(run, Intent::timeout, "timeout");
  if (now >= stalled) return stop_run(run, Intent::stall, "stalled");
  run.timer->start(std::chrono::ceil<Duration>(std::min(deadline, stalled) - now));
}

void Dispatcher::stop_run(Run& run, Intent intent, std::string why) {
  // A cancellation that was accepted holds: it overrides what is under way (the steps go on), and an answer
  // that is only being written down. Nothing overrides a cancellation.
  const bool stopping = run.finishing || run.intent != Intent::none;
  if (stopping && intent != Intent::cancel) return;
  run.intent = intent;
  run.stop.why = std::move(why);
  if (stopping) return;
  if (!run.sent) {  // its worker is still starting, or its start being written down: the worker stays
    return end_run(run, {.ending = Ending::worker_lost, .message = run.stop.why});
  }
  resume(*run.worker);  // or it could not hear
  const Duration grace = run.agent->grace;
  if (intent == Intent::preempt) {
    run.worker->retire();  // or a free slot would get another task, and its memory would not come back
    run.worker->send(Preempt{run.task.id, grace});
  } else {
    run.worker->send(Cancel{run.task.id, run.stop.why});
  }
  const bool hosted = run.agent->protocol == AgentProtocol::exec;
  run.timer->start(hosted ? grace + host_margin : grace);
  run.back_by = loop_.now() + grace + host_margin + term_to_kill + settle;
}

void Dispatcher::next_stop_step(Run& run) {
  if (run.intent == Intent::preempt && !run.agent->idempotent && !is_draining()) {
    // Only its own PREEMPTED may stop it, and that did not come: it runs on.
    run.intent = Intent::none;
    run.declined = true;
    run.back_by.reset();
    run.stop.why.clear();
    run.stop.correlation_id.clear();
    run.stop.chosen_by.clear();
    return on_deadline(run.task.id);
  }
  Worker& worker = *run.worker;
  for (const std::string& other : worker.tasks()) {
    Run& bystander = runs_.at(other);
    if (bystander.intent == Intent::none) bystander.intent = Intent::bystander;
  }
  // The exec host has sent SIGTERM and waited for the grace itself.
  if (run.agent->protocol == AgentProtocol::exec) return worker.kill();
  worker.terminate(term_to_kill);
}

void Dispatcher::end_if_retired(Worker& worker) {
  if (!worker.is_retiring() || !worker.tasks().empty()) return;
  const Duration grace = worker.agent().grace;
  if (worker.state() == Worker::State::serving) {
    const WorkerHealth* health = checking_.health_of(worker);
    if (health == nullptr || health->status != HealthStatus::unhealthy) return worker.end(grace);
    return worker.end_for(WorkerEnd::Cause::unhealthy, health->reason, std::min(idle_grace, grace));
  }
  // Whoever took its task away may wait for its memory, and READY may be long in coming.
  if (worker.state() == Worker::State::starting) worker.end(std::min(idle_grace, grace));
}

}  // namespace kurultai
