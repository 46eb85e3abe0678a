#include "supervisor/gateway/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "protocol/overloaded.h"
#include "supervisor/dispatcher.h"
#include "supervisor/publishing/publishers.h"
#include "supervisor/schedules.h"

namespace kurultai {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;

namespace {

const Histogram::BucketBoundaries seconds_buckets = {0.001, 0.005, 0.025, 0.1, 0.5,  1,
                                                     5,     15,    60,    300, 1800, 3600};
const Histogram::BucketBoundaries dispatch_buckets = {0.00001, 0.000025, 0.00005, 0.0001, 0.00025,
                                                      0.001,   0.005,    0.025,   0.1,    1};
// A kill takes milliseconds, a preemption up to its agent's grace.
const Histogram::BucketBoundaries reaction_buckets = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                      0.25,  0.5,   1,    2.5,   5,    15};

// Those that a task can fail with in this version.
constexpr std::array fail_reasons = {
    FailReason::agent_error,  FailReason::exit_code,         FailReason::signal,
    FailReason::memory_cap,   FailReason::memory_budget,     FailReason::timeout,
    FailReason::stalled,      FailReason::protocol_error,    FailReason::worker_lost,
    FailReason::spawn_failed, FailReason::supervisor_restart};

constexpr std::array health_statuses = {HealthStatus::unknown, HealthStatus::healthy, HealthStatus::suspect,
                                        HealthStatus::unhealthy};

using Seconds = std::chrono::duration<double>;
double seconds(Seconds duration) { return duration.count(); }
std::string str(std::string_view view) { return std::string(view); }
/// To what was counted elsewhere. Never falls.
void raise(Counter& counter, double to) { counter.Increment(std::max(0.0, to - counter.Value())); }

}  // namespace

struct Metrics::Families {
  prometheus::Registry registry;
  using End = std::pair<TaskState, std::string_view>;  // and the reason's word, if it has one
  /// Series that are there as long as their agent is in the configuration. Every task is counted here twice:
  /// finding a series by its labels would cost as much as writing its events.
  struct OfAgent {
    std::array<Counter*, priority_count> submitted{};
    std::map<End, Counter*> finished;
    Counter* refused = nullptr;              // of its METRIC messages
    std::map<std::string, Gauge*> gauges;    // that it told of
    std::map<std::string, Counter*> totals;  // that it told of
  };
  std::map<std::string, OfAgent> by_agent;

  OfAgent& of_agent(const std::string& agent) {
    const auto [known, is_new] = by_agent.try_emplace(agent);
    OfAgent& series = known->second;
    if (is_new) series.refused = &agent_refused.Add({{"agent", agent}});
    for (std::size_t i = 0; is_new && i < priority_count; ++i)
      series.submitted[i] =
          &submitted.Add({{"agent", agent}, {"priority", str(to_string(all_priorities[i]))}});
    return series;
  }

  Counter& ends_of(const std::string& agent, TaskState state, std::string_view reason) {
    Counter*& counter = of_agent(agent).finished[{state, reason}];
    if (counter == nullptr)
      counter = &finished.Add({{"agent", agent}, {"state", str(to_string(state))}, {"reason", str(reason)}});
    return *counter;
  }

  void forget(const OfAgent& series) {
    for (Counter* counter : series.submitted) submitted.Remove(counter);
    for (const auto& [end, counter] : series.finished) finished.Remove(counter);
    agent_refused.Remove(series.refused);
    for (const auto& [name, gauge] : series.gauges) agent_gauge.Remove(gauge);
    for (const auto& [name, counter] : series.totals) agent_counter.Remove(counter);
  }

  /// Brings the series of one agent's own metrics up to date.
  void show(const std::string& agent, const AgentMetrics::OfAgent& said) {
    OfAgent& series = of_agent(agent);
    raise(*series.refused, static_cast<double>(said.refused));
    for (const auto& [name, known] : said.values) {
      if (known.kind == Metric::Kind::gauge) {
        Gauge*& gauge = series.gauges[name];
        if (gauge == nullptr) gauge = &agent_gauge.Add({{"agent", agent}, {"name", name}});
        gauge->Set(known.value);
      } else {
        Counter*& counter = series.totals[name];
        if (counter == nullptr) counter = &agent_counter.Add({{"agent", agent}, {"name", name}});
        raise(*counter, known.value);
      }
    }
  }

  Family<Gauge>& usage =
      BuildGauge().Name("kurultai_memory_usage_bytes").Help("Memory in use").Register(registry);
  Family<Gauge>& limit =
      BuildGauge().Name("kurultai_memory_limit_bytes").Help("The memory budget in effect").Register(registry);
  Family<Gauge>& configured = BuildGauge()
                                  .Name("kurultai_memory_configured_bytes")
                                  .Help("The memory budget as configured")
                                  .Register(registry);
  Family<Gauge>& machine =
      BuildGauge()
          .Name("kurultai_machine_memory_bytes")
          .Help("The machine's memory, by kind: all, what is available, what is left to others")
          .Register(registry);
  Counter& stalls =
      BuildCounter()
          .Name("kurultai_memory_stalls_total")
          .Help("Times that tasks on the machine stood still for want of memory, a tenth of 2 s or more")
          .Register(registry)
          .Add({});
  Family<Counter>& budget_changes =
      BuildCounter()
          .Name("kurultai_budget_changes_total")
          .Help("Events of a budget that follows what others use of the machine")
          .Register(registry);
  Family<Gauge>& worker_memory = BuildGauge()
                                     .Name("kurultai_worker_memory_bytes")
                                     .Help("Working set of a worker's tree")
                                     .Register(registry);
  Family<Gauge>& leak_growth = BuildGauge()
                                   .Name("kurultai_leak_growth_bytes_per_hour")
                                   .Help("What a process that seems to leak grows by; 0: it does not seem to")
                                   .Register(registry);
  Family<Counter>& worker_cpu =
      BuildCounter()
          .Name("kurultai_worker_cpu_seconds_total")
          .Help("CPU time of all workers with what they started, the ended ones too")
          .Register(registry);
  Family<Counter>& supervisor_cpu = BuildCounter()
                                        .Name("kurultai_supervisor_cpu_seconds_total")
                                        .Help("CPU time of the supervisor")
                                        .Register(registry);
  Family<Gauge>& active =
      BuildGauge().Name("kurultai_workers_active").Help("Workers with tasks").Register(registry);
  Family<Gauge>& idle =
      BuildGauge().Name("kurultai_workers_idle").Help("Workers without tasks").Register(registry);
  Family<Counter>& spawned =
      BuildCounter().Name("kurultai_workers_spawned_total").Help("Workers started").Register(registry);
  Family<Counter>& exited = BuildCounter()
                                .Name("kurultai_workers_exited_total")
                                .Help("Workers that ended, by reason")
                                .Register(registry);
  Family<Gauge>& depth = BuildGauge().Name("kurultai_queue_depth").Help("Waiting tasks").Register(registry);
  Family<Counter>& submitted =
      BuildCounter().Name("kurultai_tasks_submitted_total").Help("Tasks accepted").Register(registry);
  Family<Counter>& finished =
      BuildCounter().Name("kurultai_tasks_finished_total").Help("Tasks in a final state").Register(registry);
  Family<Counter>& rejected = BuildCounter()
                                  .Name("kurultai_tasks_rejected_total")
                                  .Help("Submissions refused, by code")
                                  .Register(registry);
  Family<Counter>& preempted = BuildCounter()
                                   .Name("kurultai_tasks_preempted_total")
                                   .Help("Tasks that were sent back to the queue")
                                   .Register(registry);
  Family<Counter>& suspended = BuildCounter()
                                   .Name("kurultai_tasks_suspended_total")
                                   .Help("Tasks that were stopped and paged out")
                                   .Register(registry);
  Family<Counter>& killed = BuildCounter()
                                .Name("kurultai_tasks_killed_total")
                                .Help("Tasks killed for the memory budget")
                                .Register(registry);
  Family<Counter>& skipped = BuildCounter()
                                 .Name("kurultai_heartbeats_skipped_total")
                                 .Help("Heartbeats passed over under memory pressure")
                                 .Register(registry);
  Family<Counter>& crossings = BuildCounter()
                                   .Name("kurultai_threshold_crossings_total")
                                   .Help("Memory thresholds crossed")
                                   .Register(registry);
  Family<Counter>& predictions =
      BuildCounter()
          .Name("kurultai_exhaustion_predictions_total")
          .Help("Times that memory was said to run out: whether it would have, or was averted")
          .Register(registry);
  Family<Counter>& withheld = BuildCounter()
                                  .Name("kurultai_governance_withheld_total")
                                  .Help("Actions not taken because FF_MEMORY_GOVERNANCE is false")
                                  .Register(registry);
  Family<Counter>& moments = BuildCounter()
                                 .Name("kurultai_schedule_moments_total")
                                 .Help("Moments at which a scheduled task was due, by what came of it")
                                 .Register(registry);
  Family<Counter>& published = BuildCounter()
                                   .Name("kurultai_publisher_delivered_total")
                                   .Help("Events that a publisher has delivered")
                                   .Register(registry);
  Family<Counter>& unpublished =
      BuildCounter()
          .Name("kurultai_publisher_dropped_total")
          .Help("Events for which a publisher had no room, or that its receiver refused")
          .Register(registry);
  Family<Gauge>& breaker = BuildGauge()
                               .Name("kurultai_circuit_breaker_state")
                               .Help("0 closed, 1 half-open, 2 open")
                               .Register(registry);
  Family<Counter>& checks = BuildCounter()
                                .Name("kurultai_health_checks_total")
                                .Help("Checks of workers, by what came of them")
                                .Register(registry);
  Family<Gauge>& health = BuildGauge()
                              .Name("kurultai_workers_health")
                              .Help("Workers by what their last check found")
                              .Register(registry);
  Family<Gauge>& checking = BuildGauge()
                                .Name("kurultai_health_longest_turn_seconds")
                                .Help("The longest that the loop was busy with checks of workers")
                                .Register(registry);
  Family<Gauge>& orphans = BuildGauge()
                               .Name("kurultai_orphans")
                               .Help("Processes that outlived their worker and are being killed")
                               .Register(registry);
  Family<Counter>& swept = BuildCounter()
                               .Name("kurultai_orphans_swept_total")
                               .Help("Processes that outlived their task and were killed")
                               .Register(registry);
  Family<Counter>& noise = BuildCounter()
                               .Name("kurultai_stdout_noise_lines_total")
                               .Help("Lines on agents' stdout that were no protocol message")
                               .Register(registry);
  Family<Counter>& warnings = BuildCounter()
                                  .Name("kurultai_memory_warnings_total")
                                  .Help("Workers that crossed their memory_warning")
                                  .Register(registry);
  Family<Gauge>& agent_gauge = BuildGauge()
                                   .Name("kurultai_agent_metric")
                                   .Help("What agents say of themselves: the last value of a gauge")
                                   .Register(registry);
  Family<Counter>& agent_counter = BuildCounter()
                                       .Name("kurultai_agent_metric_total")
                                       .Help("What agents say of themselves: the sum of a counter")
                                       .Register(registry);
  Family<Counter>& agent_refused = BuildCounter()
                                       .Name("kurultai_agent_metrics_refused_total")
                                       .Help("METRIC messages of agents that were not taken")
                                       .Register(registry);
  Histogram& wait = BuildHistogram()
                        .Name("kurultai_task_wait_seconds")
                        .Help("From submission to start")
                        .Register(registry)
                        .Add({}, seconds_buckets);
  Histogram& dispatch = BuildHistogram()
                            .Name("kurultai_dispatch_seconds")
                            .Help(
                                "From the moment a task could be taken (it came, a slot or memory came free, "
                                "or its new worker was ready) to its TASK line")
                            .Register(registry)
                            .Add({}, dispatch_buckets);
  Histogram& run = BuildHistogram()
                       .Name("kurultai_task_run_seconds")
                       .Help("From start to end of the last attempt")
                       .Register(registry)
                       .Add({}, seconds_buckets);
  Histogram& reaction = BuildHistogram()
                            .Name("kurultai_governor_reaction_seconds")
                            .Help("From the governor's decision to the victim's end")
                            .Register(registry)
                            .Add({}, reaction_buckets);
};

Metrics::Metrics(const Dispatcher& dispatcher, const Monitor& monitor, const Schedules& schedules,
                 const Publishers& publishers)
    : dispatcher_(dispatcher),
      monitor_(monitor),
      schedules_(schedules),
      publishers_(publishers),
      families_(std::make_unique<Families>()) {
  Families& f = *families_;
  f.spawned.Add({});
  f.preempted.Add({});
  f.suspended.Add({});
  f.killed.Add({});
  f.skipped.Add({});
  f.swept.Add({});
  f.noise.Add({});
  f.warnings.Add({});
  f.supervisor_cpu.Add({});
  f.worker_cpu.Add({});
  for (const auto code :
       {Refusal::Code::queue_full, Refusal::Code::memory_pressure, Refusal::Code::circuit_open,
        Refusal::Code::draining, Refusal::Code::invalid_task, Refusal::Code::unknown_agent,
        Refusal::Code::key_conflict, Refusal::Code::storage_unavailable})
    f.rejected.Add({{"code", str(to_string(code))}});
  for (std::size_t i = 0; i < threshold_count; ++i) {
    for (const char* direction : {"up", "down"}) {
      f.crossings.Add({{"threshold", str(to_string(static_cast<Threshold>(i)))}, {"direction", direction}});
    }
  }
  for (const auto cause :
       {WorkerEnd::Cause::exited, WorkerEnd::Cause::asked, WorkerEnd::Cause::memory_cap,
        WorkerEnd::Cause::memory_budget, WorkerEnd::Cause::protocol_error, WorkerEnd::Cause::start_failed,
        WorkerEnd::Cause::unhealthy, WorkerEnd::Cause::group_lost}) {
    f.exited.Add({{"reason", str(to_string(cause))}});
  }
  for (const char* action : {"wait", "suspend", "preempt", "kill", "reject", "skip_heartbeat"})
    f.withheld.Add({{"action", action}});
  meet_agents();
}

Metrics::~Metrics() = default;

// One that a reload took away may still have tasks: they are counted anew, until the next reload.
void Metrics::meet_agents() {
  std::set<std::string> names;
  for (const auto& agent : dispatcher_.config().agents) names.insert(agent.first);
  if (dispatcher_.config().exec.allow) names.insert(std::string(command_agent));
  std::erase_if(families_->by_agent, [&](const auto& known) {
    if (names.contains(known.first)) return false;
    families_->forget(known.second);
    return true;
  });
  for (const std::string& name : names) meet(name);
}

void Metrics::meet(const std::string& agent) {
  Families& f = *families_;
  f.ends_of(agent, TaskState::completed, "");
  f.ends_of(agent, TaskState::cancelled, to_string(FailReason::cancelled));
  f.ends_of(agent, TaskState::evicted, to_string(FailReason::evicted));
  for (const FailReason reason : fail_reasons) f.ends_of(agent, TaskState::failed, to_string(reason));
}

void Metrics::note_worker_cpu(std::chrono::microseconds used) {
  raise(families_->worker_cpu.Add({}), seconds(used));
}

void Metrics::on_event(const Event& event) {
  Families& f = *families_;
  std::visit(
      overloaded{
          [&](const TaskEvent& body) {
            const Task& task = body.task;
            if (body.kind == TaskEvent::Kind::queued && task.attempt == 1) {
              f.of_agent(task.agent).submitted[static_cast<std::size_t>(task.priority)]->Increment();
            }
            if (body.kind == TaskEvent::Kind::started) {
              f.wait.Observe(seconds(task.waited));
              f.dispatch.Observe(seconds(body.dispatch));
            }
            if (body.kind == TaskEvent::Kind::preempted) f.preempted.Add({}).Increment();
            if (body.kind == TaskEvent::Kind::suspended) f.suspended.Add({}).Increment();
            // Sent back, or failed because it may not run again.
            if (body.why == "kill" || body.why == "kernel") f.killed.Add({}).Increment();
            if (body.why == "kill" || body.why == "preempt") f.reaction.Observe(seconds(body.reaction));
            if (!is_final(task.state)) return;
            if (task.started_at) f.run.Observe(seconds(task.ran));
            f.ends_of(task.agent, task.state, task.error ? to_string(task.error->reason) : "").Increment();
          },
          [&](const TaskRejected& body) { f.rejected.Add({{"code", str(body.code)}}).Increment(); },
          [&](const HeartbeatSkipped&) { f.skipped.Add({}).Increment(); },
          [&](const WorkerEvent& body) {
            if (body.kind == WorkerEvent::Kind::spawned) f.spawned.Add({}).Increment();
            if (body.kind == WorkerEvent::Kind::exited)
              f.exited.Add({{"reason", str(body.reason)}}).Increment();
          },
          [&](const MemoryWarning&) { f.warnings.Add({}).Increment(); },
          [](const LeakSuspected&) {},  // a gauge of each worker
          [&](const ThresholdCrossed& body) {
            f.crossings
                .Add({{"threshold", str(to_string(body.threshold))},
                      {"direction", body.direction == Direction::up ? "up" : "down"}})
                .Increment();
          },
          [&](const BudgetChanged&) { f.budget_changes.Add({}).Increment(); },
          [&](const OrphanSwept& body) { f.swept.Add({}).Increment(body.count); },
          [&](const Withheld& body) { f.withheld.Add({{"action", str(body.action)}}).Increment(); },
          [&](const ConfigReloaded&) { meet_agents(); },
          [](const DrainEvent&) {},
          [](const BreakerChanged&) {},
      },
      event.body);
}

void Metrics::refresh() {
  Families& f = *families_;
  const MemorySnapshot& memory = monitor_.last();
  f.usage.Add({{"scope", "total"}}).Set(static_cast<double>(memory.used.count));
  f.usage.Add({{"scope", "supervisor"}}).Set(static_cast<double>(memory.supervisor_rss.count));
  f.usage.Add({{"scope", "workers"}}).Set(static_cast<double>(memory.workers.total.used.count));
  f.limit.Add({}).Set(static_cast<double>(memory.budget.count));
  f.configured.Add({}).Set(static_cast<double>(memory.configured.count));
  if (memory.machine) {
    f.machine.Add({{"kind", "total"}}).Set(static_cast<double>(memory.machine->total.count));
    f.machine.Add({{"kind", "available"}}).Set(static_cast<double>(memory.machine->available.count));
    f.machine.Add({{"kind", "reserve"}}).Set(static_cast<double>(monitor_.machine_room().reserve().count));
  }
  f.stalls.Increment(static_cast<double>(monitor_.stalls()) - f.stalls.Value());
  f.active.Add({}).Set(dispatcher_.pool().active());
  f.idle.Add({}).Set(dispatcher_.pool().idle());
  int orphans = 0;
  std::array<int, health_statuses.size()> health{};
  for (const auto& worker : dispatcher_.pool().workers()) {
    orphans += worker->orphans();
    health[static_cast<std::size_t>(dispatcher_.health_of(*worker).status)] += 1;
  }
  f.orphans.Add({}).Set(orphans);
  for (const HealthStatus status : health_statuses)
    f.health.Add({{"status", str(to_string(status))}}).Set(health[static_cast<std::size_t>(status)]);
  const Checking::Counts& checks = dispatcher_.checking().counts();
  for (const auto& [result, count] : {std::pair("passed", checks.passed),
                                      {"failed", checks.failed},
                                      {"timed_out", checks.timed_out},
                                      {"skipped", checks.skipped}})
    raise(f.checks.Add({{"result", result}}), static_cast<double>(count));
  f.checking.Add({}).Set(seconds(dispatcher_.checking().longest_turn()));
  for (const Priority priority : all_priorities) {
    f.depth.Add({{"priority", str(to_string(priority))}})
        .Set(static_cast<double>(dispatcher_.queue().waiting(priority)));
  }
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const double cpu = static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                     static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  raise(f.supervisor_cpu.Add({}), cpu);
  const Schedules::Totals& totals = schedules_.totals();
  raise(f.moments.Add({{"outcome", "started"}}), static_cast<double>(totals.started));
  raise(f.moments.Add({{"outcome", "missed"}}), static_cast<double>(totals.missed));
  raise(f.moments.Add({{"outcome", "refused"}}), static_cast<double>(totals.refused));
  const auto publishers = publishers_.counts();
  if (publishers.empty()) {
    f.published.Add({});
    f.unpublished.Add({});
  }
  for (const auto& [publisher, events] : publishers) {
    raise(f.published.Add({{"publisher", publisher}}), static_cast<double>(events.delivered));
    raise(f.unpublished.Add({{"publisher", publisher}}), static_cast<double>(events.dropped));
  }
  const Predictions::Counts& counts = dispatcher_.governor().predictions().counts();
  for (const auto& [outcome, count] :
       {std::pair("true", counts.come_true), {"false", counts.false_alarms}, {"averted", counts.averted}})
    raise(f.predictions.Add({{"outcome", outcome}}), static_cast<double>(count));
  raise(f.noise.Add({}), static_cast<double>(dispatcher_.noise_lines()));
  for (const auto& [agent, said] : dispatcher_.agent_metrics()) f.show(agent, said);
}

std::string Metrics::text(Exposition format) {
  refresh();
  Families& f = *families_;
  // Workers come and go, and so do breakers: their gauges live for one scrape, so that label sets stay
  // bounded.
  std::set<std::pair<Family<Gauge>*, Gauge*>> gauges;
  const auto show = [&](Family<Gauge>& family, const prometheus::Labels& labels) -> Gauge& {
    return *gauges.emplace(&family, &family.Add(labels)).first->second;
  };
  std::set<std::string> without_worker;
  for (const auto& [agent, settings] : dispatcher_.config().agents) {
    without_worker.insert(agent);
    show(f.breaker, {{"name", agent}});
  }
  for (const auto& worker : dispatcher_.pool().workers()) {
    const std::string& agent = worker->agent().name;
    show(f.worker_memory, {{"worker", worker->id()}, {"agent", agent}})
        .Set(static_cast<double>(worker->memory().count));
    show(f.leak_growth, {{"worker", worker->id()}}).Set(kurultai::leak_growth(worker->leak.verdict()));
    without_worker.erase(agent);
  }
  show(f.leak_growth, {{"worker", "supervisor"}}).Set(kurultai::leak_growth(dispatcher_.own_leak()));
  for (const std::string& agent : without_worker) show(f.worker_memory, {{"agent", agent}});
  // A publisher, or what an agent calls, may have an agent's name.
  const auto show_breaker = [&](const std::string& name, const CircuitBreaker& breaker) {
    Gauge& gauge = show(f.breaker, {{"name", name}});
    gauge.Set(std::max(gauge.Value(), static_cast<double>(breaker.state())));
  };
  for (const auto* breakers : {&dispatcher_.breakers(), &dispatcher_.called_breakers()}) {
    for (const auto& [name, breaker] : *breakers) show_breaker(name, breaker);
  }
  for (const auto& publisher : publishers_.all())
    show_breaker(publisher->config().name, publisher->outbox().breaker());
  std::string text = to_text(f.registry.Collect(), format);
  for (const auto& [family, gauge] : gauges) family->Remove(gauge);
  return text;
}

}  // namespace kurultai
