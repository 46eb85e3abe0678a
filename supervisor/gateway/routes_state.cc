// Routes about the supervisor itself.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "supervisor/gateway/gateway.h"
#include "supervisor/gateway/openapi.h"
#include "supervisor/gateway/state_json.h"
#include "supervisor/publishing/publishers.h"
#include "supervisor/schedules.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr Duration default_drain{30000};

json bytes_or_null(const std::optional<Bytes>& bytes) { return bytes ? json(bytes->count) : json(); }

json heap_json(const HeapFigures& heap) {
  return {{"heapUsed", bytes_or_null(heap.heap_used)},
          {"heapTotal", bytes_or_null(heap.heap_total)},
          {"external", bytes_or_null(heap.external)},
          {"arrayBuffers", bytes_or_null(heap.array_buffers)}};
}

json predictions_json(const Dispatcher& dispatcher) {
  const Predictions& predictions = dispatcher.governor().predictions();
  return {{"enabled", dispatcher.config().memory.predict},
          {"open", predictions.is_open()},
          {"true", predictions.counts().come_true},
          {"false", predictions.counts().false_alarms},
          {"averted", predictions.counts().averted},
          {"timeToActMs", dispatcher.time_to_act().value().count()}};
}

/// Null where it is not looked at.
json machine_json(const Monitor& monitor) {
  const auto& machine = monitor.last().machine;
  if (!machine) return {};
  return {{"totalBytes", machine->total.count},
          {"availableBytes", machine->available.count},
          {"reserveBytes", monitor.machine_room().reserve().count},
          {"limits", monitor.machine_room().is_limited()},
          {"group", machine->group}};
}

json memory_json(const Dispatcher& dispatcher, const Monitor& monitor, const Controller& controller) {
  const MemorySnapshot& memory = monitor.last();
  const Pressure& pressure = dispatcher.governor().pressure();
  json thresholds;
  json over = json::array();
  for (std::size_t i = 0; i < threshold_count; ++i) {
    const auto threshold = static_cast<Threshold>(i);
    thresholds[std::string(to_string(threshold))] = pressure.thresholds().at(threshold);
    if (pressure.is_over(threshold)) over.push_back(to_string(threshold));
  }
  json workers = json::array();
  for (const auto& worker : dispatcher.pool().workers()) {
    json object = {{"workerId", worker->id()},
                   {"agent", worker->agent().name},
                   {"memoryBytes", worker->memory().count},
                   {"growthBytesPerSecond", worker->growth.growth().per_second.count},
                   {"heap", heap_json(worker->heap)}};
    for (const NamedReading& named : memory.workers.groups) {
      if (named.name != worker->id()) continue;
      object["rawBytes"] = named.reading.raw.count;
      object["swapBytes"] = named.reading.swap.count;
    }
    workers.push_back(std::move(object));
  }
  return {{"time", to_rfc3339(memory.at)},
          {"budgetBytes", memory.budget.count},
          {"configuredBytes", memory.configured.count},
          {"machine", machine_json(monitor)},
          {"usedBytes", memory.used.count},
          {"ratio", memory.ratio()},
          {"swapBytes", memory.workers.total.swap.count},
          {"guarantee", to_string(controller.guarantee())},
          {"thresholds", thresholds},
          {"hysteresis", pressure.thresholds().hysteresis},
          {"over", over},
          {"predictions", predictions_json(dispatcher)},
          {"supervisor",
           {{"rssBytes", memory.supervisor_rss.count},
            {"heapUsedBytes", memory.heap_used.count},
            {"heapTotalBytes", memory.heap_total.count}}},
          {"workersBytes", memory.workers.total.used.count},
          {"workers", workers}};
}

json troubles_of(const Health& health) {
  json all = json::array();
  for (const Standing& one : health.standings()) {
    if (!one.trouble.empty()) all.push_back(one.trouble);
  }
  return all;
}

json parts_json(const Health& health) {
  json all = json::array();
  for (const Standing& one : health.standings()) {
    json part = {{"part", one.part},
                 {"status", one.trouble.empty() ? "ok" : "degraded"},
                 {"since", to_rfc3339(one.since)}};
    if (!one.trouble.empty()) part["trouble"] = one.trouble;
    all.push_back(std::move(part));
  }
  return all;
}

}  // namespace

void Gateway::get_health(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const FeatureFlags& flags = dispatcher_.config().flags;
  const Health& parts = look_at_health_();
  json health = {{"status", parts.is_well() ? "ok" : "degraded"},
                 {"guarantee", to_string(controller_.guarantee())},
                 {"explanation", controller_.explanation()},
                 {"troubles", troubles_of(parts)},
                 {"parts", parts_json(parts)},
                 {"draining", dispatcher_.is_draining()},
                 {"memory", memory_json(dispatcher_, monitor_, controller_)},
                 {"uptimeSeconds", std::chrono::duration<double>(loop_.wall_now() - started_).count()},
                 {"pid", ::getpid()},
                 {"version", settings_.version},
                 {"flags",
                  {{"memoryGovernance", flags.memory_governance},
                   {"workerPool", flags.worker_pool},
                   {"circuitBreakers", flags.circuit_breakers}}}};
  health["memory"].erase("workers");
  // Anybody may ask over TCP; where things are is for those who can open the socket.
  if (!exchange->request().over_tcp) {
    health["listen"] = address();
    health["tokenFile"] = settings_.token_file.empty() ? json() : json(settings_.token_file);
  }
  // Without readings nobody can be made to give way: it is not able to do what it is for.
  const bool is_able = monitor_.trouble().empty();
  respond_json(*exchange, is_able ? 200 : 503, to_text(health));
}

void Gateway::get_ready(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  if (const auto refusal = dispatcher_.unready()) {
    return respond_error(*exchange, 503, to_string(refusal->code), refusal->message, refusal->retry_after);
  }
  respond_json(*exchange, 200, R"({"ready":true})");
}

void Gateway::get_metrics(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  auto used = std::make_shared<Result<std::chrono::microseconds>>();
  run_on_thread(
      loop_, [job = controller_.cpu_job(), used] { *used = job(); },
      [this, exchange, used, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;
        if (*used) metrics_.note_worker_cpu(**used);
        const Exposition format = wanted_exposition(exchange->request().header("accept"));
        exchange->respond(200, content_type(format), metrics_.text(format));
      });
}

void Gateway::get_memory(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  respond_json(*exchange, 200, to_text(memory_json(dispatcher_, monitor_, controller_)));
}

void Gateway::get_workers(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  json list = json::array();
  for (const auto& worker : dispatcher_.pool().workers())
    list.push_back(worker_json(*worker, dispatcher_.health_of(*worker), loop_.now(), loop_.wall_now()));
  respond_json(*exchange, 200, to_text({{"workers", list}}));
}

void Gateway::get_queue(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const TaskQueue& queue = dispatcher_.queue();
  const auto limit = limit_of(exchange->request(), queue.depth() + queue.returned());
  if (!limit) return respond_error(*exchange, 400, "invalid_task", limit.error().message);
  json levels = json::array();
  for (const Priority priority : all_priorities) {
    levels.push_back({{"priority", to_string(priority)},
                      {"waiting", queue.waiting(priority)},
                      {"limit", queue.limits().per_level[static_cast<std::size_t>(priority)]}});
  }
  json tasks = json::array();
  for (const std::string& id : queue.in_order()) {
    if (tasks.size() == *limit) break;
    const Task* task = dispatcher_.tasks().find(id);
    if (task == nullptr) continue;
    tasks.push_back({{"taskId", task->id},
                     {"agent", task->agent},
                     {"priority", to_string(task->priority)},
                     {"position", tasks.size() + 1},
                     {"preemptions", task->preemptions},
                     {"footprintBytes", dispatcher_.footprint_of(*task).count}});
  }
  respond_json(*exchange, 200,
               to_text({{"depth", queue.depth()},
                        {"maxDepth", queue.limits().max_depth},
                        {"returned", queue.returned()},
                        {"levels", levels},
                        {"tasks", tasks}}));
}

void Gateway::get_breakers(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const TimePoint now = dispatcher_.now();
  json list = json::array();
  const auto add = [&](const std::string& name, const char* kind, const CircuitBreaker& breaker) {
    json object = breaker_json(breaker, now);
    object["name"] = name;
    object["kind"] = kind;
    list.push_back(std::move(object));
  };
  const CircuitBreaker unused({});  // an agent that nothing was submitted to yet
  for (const auto& [name, agent] : dispatcher_.config().agents) {
    const auto found = dispatcher_.breakers().find(name);
    add(name, "agent", found == dispatcher_.breakers().end() ? unused : found->second);
  }
  for (const auto& [name, breaker] : dispatcher_.called_breakers()) add(name, "called", breaker);
  for (const auto& publisher : publishers_.all())
    add(publisher->config().name, "publisher", publisher->outbox().breaker());
  respond_json(*exchange, 200, to_text({{"breakers", list}}));
}

void Gateway::get_schedules(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  json list = json::array();
  for (const auto& [name, entry] : schedules_.entries()) {
    const ScheduleConfig& config = entry.config;
    list.push_back({{"name", name},
                    {"agent", config.agent},
                    {"every", entry.cron ? json() : json(to_string(config.every))},
                    {"cron", entry.cron ? json(config.cron) : json()},
                    {"nextAt", to_rfc3339(schedules_.next_of(entry))},
                    {"startedAt", entry.started_at ? json(to_rfc3339(*entry.started_at)) : json()},
                    {"taskId", entry.task_id.empty() ? json() : json(entry.task_id)},
                    {"running", entry.state.is_running()},
                    {"started", entry.started},
                    {"missed", entry.state.missed()},
                    {"refused", entry.state.refusals()}});
  }
  respond_json(*exchange, 200, to_text({{"schedules", list}}));
}

void Gateway::get_config(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  respond_json(*exchange, 200, config_to_json(dispatcher_.config()));
}

void Gateway::post_reload(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const auto change = reload_();
  if (!change) {
    std::vector<std::string> details;
    for (const ConfigError& error : change.error()) details.push_back(to_string(error));
    return respond_error(*exchange, 422, "invalid_config",
                         "the configuration has mistakes; the old one stays in effect", {}, details);
  }
  respond_json(*exchange, 200, to_text({{"live", change->live}, {"needsRestart", change->needs_restart}}));
}

void Gateway::get_openapi(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  exchange->respond(200, "application/json", std::string(openapi_document));
}

void Gateway::post_drain(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  Duration limit = default_drain;
  const HttpRequest& request = exchange->request();
  for (const char* name : {"timeout", "wait"}) {
    const auto text = request.parameter(name);
    if (!text || text->empty()) continue;
    const auto parsed = parse_duration(*text);
    if (!parsed)
      return respond_error(*exchange, 400, "invalid_task", std::string(name) + ": " + parsed.error().message);
    limit = *parsed;
    break;
  }
  const bool wait = request.query.contains("wait");
  if (wait) {
    return dispatcher_.drain(limit, [exchange](const DrainStatistics& statistics) {
      respond_json(*exchange, 200, to_json(statistics));
    });
  }
  dispatcher_.drain(limit, nullptr);
  respond_json(*exchange, 202, to_json(dispatcher_.drain_statistics()));
}

}  // namespace kurultai
