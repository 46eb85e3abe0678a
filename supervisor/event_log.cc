#include "supervisor/event_log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "protocol/overloaded.h"
#include "protocol/utf8.h"
#include "supervisor/monitor.h"
#include "supervisor/task.h"

namespace kurultai {

namespace {

constexpr std::size_t queue_lines = 1024;  // spdlog allocates them all at the start, 400 bytes each
constexpr auto snapshot_pace = std::chrono::seconds(5);

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// What agents and clients wrote goes into the log on one line and without control characters.
std::string clean(std::string_view text) {
  std::string line = to_utf8(text.substr(0, 500));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

std::string process_name(std::string_view worker_id, std::string_view agent) {
  return worker_id.empty() ? "the supervisor" : fmt::format("worker {} of {}", worker_id, agent);
}

/// All that happens to a task that does well: not to be put into words where nobody reads it.
bool is_worth_a_warning(TaskEvent::Kind kind) {
  return kind == TaskEvent::Kind::suspended || kind == TaskEvent::Kind::preempted ||
         kind == TaskEvent::Kind::failed || kind == TaskEvent::Kind::evicted;
}

void log_task(const TaskEvent& event, std::string_view correlation) {
  const Task& task = event.task;
  if (!is_worth_a_warning(event.kind) && !spdlog::should_log(spdlog::level::info)) return;
  switch (event.kind) {
    case TaskEvent::Kind::queued:
      return spdlog::info("task {} queued: {}, {}{}", task.id, task.agent, to_string(task.priority),
                          task.attempt > 1 ? fmt::format(", attempt {}", task.attempt) : "");
    case TaskEvent::Kind::started:
      return spdlog::info("task {} started on {} after waiting {:.1f} s", task.id, task.worker_id,
                          seconds(task.waited));
    case TaskEvent::Kind::progress:
      return spdlog::debug("task {} at {:.0f} % {}", task.id, task.progress.value_or(0), clean(task.message));
    case TaskEvent::Kind::suspended:
      return spdlog::warn("task {} suspended on {}: {}, {} [{}]", task.id, task.worker_id, task.agent,
                          to_string(task.priority), correlation);
    case TaskEvent::Kind::resumed:
      return spdlog::info("task {} resumed on {}", task.id, task.worker_id);
    case TaskEvent::Kind::preempted:
      return spdlog::warn("task {} sent back ({}, {} reaction): {}, {}, peak {}, preemption {} [{}]", task.id,
                          event.why, to_string(event.reaction), task.agent, to_string(task.priority),
                          to_string(task.peak), task.preemptions, correlation);
    case TaskEvent::Kind::completed:
      return spdlog::info("task {} completed in {:.1f} s, peak {}", task.id, seconds(task.ran),
                          to_string(task.peak));
    case TaskEvent::Kind::failed:
      return spdlog::warn("task {} failed after {:.1f} s: {}: {}", task.id, seconds(task.ran),
                          to_string(task.error->reason), clean(task.error->message));
    case TaskEvent::Kind::cancelled:
      return spdlog::info("task {} cancelled: {}", task.id, clean(task.error->message));
    case TaskEvent::Kind::evicted:
      return spdlog::warn("task {} evicted: {}", task.id, clean(task.error->message));
  }
}

void log_worker(const WorkerEvent& event) {
  switch (event.kind) {
    case WorkerEvent::Kind::spawned:
      return spdlog::info("worker {} started for {}, pid {}", event.worker_id, event.agent, event.pid);
    case WorkerEvent::Kind::ready:
      return spdlog::debug("worker {} is ready", event.worker_id);
    case WorkerEvent::Kind::exited:
      return spdlog::info("worker {} of {} ended: {} ({}), peak {}", event.worker_id, event.agent,
                          event.reason, clean(event.message), to_string(event.peak));
  }
}

}  // namespace

Result<void> start_log(const std::string& level) {
  const auto wanted = spdlog::level::from_str(level);
  if (wanted == spdlog::level::off && level != "off") {
    return failure("log level " + level + ": use trace, debug, info, warn, error or off");
  }
  try {
    spdlog::init_thread_pool(queue_lines, 1);
  } catch (const std::exception& error) {
    return failure(std::string("start the log's thread: ") + error.what());
  }
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  auto logger = std::make_shared<spdlog::async_logger>("kurultaid", sink, spdlog::thread_pool(),
                                                       spdlog::async_overflow_policy::overrun_oldest);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  logger->set_level(wanted);
  logger->flush_on(spdlog::level::warn);
  spdlog::set_default_logger(logger);
  return {};
}

void stop_log() { spdlog::shutdown(); }

void log_info(const std::string& line) { spdlog::info("{}", line); }
void log_warning(const std::string& line) { spdlog::warn("{}", line); }
void log_error(const std::string& line) { spdlog::error("{}", line); }

void log_event(const Event& event) {
  std::visit(
      overloaded{
          [&](const TaskEvent& body) { log_task(body, event.correlation_id); },
          [](const WorkerEvent& body) { log_worker(body); },
          [](const TaskRejected& body) {
            spdlog::warn("submission to {} refused: {}: {}", clean(body.agent), body.code,
                         clean(body.message));
          },
          [](const HeartbeatSkipped& body) {
            spdlog::info("heartbeat {} of {} skipped: memory at {:.0f} %", body.task.id, body.task.agent,
                         body.ratio * 100);
          },
          [](const MemoryWarning& body) {
            if (body.mark != LeakLevel::none) {
              spdlog::warn("{} uses {}, over the mark of {} at which a leak is looked for (CWE-401)",
                           process_name(body.worker_id, body.agent), to_string(body.used),
                           to_string(body.warning));
              return;
            }
            spdlog::warn("worker {} of {} uses {}, over its warning of {} (cap {})", body.worker_id,
                         body.agent, to_string(body.used), to_string(body.warning), to_string(body.limit));
          },
          [](const LeakSuspected& body) {
            spdlog::warn("{} seems to leak (CWE-401): {:.0f} MB an hour, {} now; {}, confidence {:.2f}",
                         process_name(body.worker_id, body.agent), body.verdict.growth_per_hour / 1e6,
                         to_string(body.used), to_string(body.verdict.level), body.verdict.confidence);
          },
          [&](const ThresholdCrossed& body) {
            spdlog::warn("memory {} {}: {:.1f} % of {} [{}]",
                         body.direction == Direction::up ? "rose above" : "fell back below",
                         to_string(body.threshold), body.ratio * 100, to_string(body.memory.budget),
                         event.correlation_id);
          },
          [](const BudgetChanged& body) {
            spdlog::warn("the budget is {} of {}: {} has {} available, of {}, and {} are left to others",
                         to_string(body.budget), to_string(body.configured),
                         body.machine.group.empty() ? "the machine" : "the group " + body.machine.group,
                         to_string(body.machine.available), to_string(body.machine.total),
                         to_string(body.reserve));
          },
          [](const OrphanSwept& body) {
            spdlog::warn("worker {}: {} processes outlived {} and were killed", body.worker_id, body.count,
                         body.task_id.empty() ? "it" : "task " + std::string(body.task_id));
          },
          [](const ConfigReloaded& body) {
            spdlog::info("configuration reloaded: {} settings changed, {} need a restart", body.live.size(),
                         body.needs_restart.size());
          },
          [](const DrainEvent& body) {
            const DrainStatistics& statistics = body.statistics;
            spdlog::info("drain {}: {} initial, {} completed, {} remaining, {:.1f} s", statistics.status,
                         statistics.initial, statistics.completed, statistics.remaining,
                         statistics.duration_seconds);
          },
          [](const BreakerChanged& body) {
            spdlog::warn("circuit breaker of {} {}: {} -> {}", body.kind, body.name, body.from, body.to);
          },
          [&](const Withheld& body) {
            spdlog::warn("FF_MEMORY_GOVERNANCE is false: would {} {} at {:.1f} % [{}]", body.action,
                         body.task_id, body.ratio * 100, event.correlation_id);
          },
      },
      event.body);
}

void log_snapshot(const MemorySnapshot& snapshot) {
  static WallTime last;
  if (!spdlog::should_log(spdlog::level::debug) || snapshot.at - last < snapshot_pace) return;
  last = snapshot.at;
  spdlog::debug("memory: {} of {} ({:.1f} %), supervisor {} (heap {}), workers {} (raw {}, swap {})",
                to_string(snapshot.used), to_string(snapshot.budget), snapshot.ratio() * 100,
                to_string(snapshot.supervisor_rss), to_string(snapshot.heap_used),
                to_string(snapshot.workers.total.used), to_string(snapshot.workers.total.raw),
                to_string(snapshot.workers.total.swap));
}

}  // namespace kurultai
