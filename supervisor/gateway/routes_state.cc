// Routes about the supervisor itself.
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "supervisor/gateway/gateway.h"
#include "supervisor/gateway/openapi.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr Duration default_drain{30000};

json bytes_or_null(const std::optional<Bytes>& bytes) { return bytes ? json(bytes->count) : json(); }

std::string_view name_of(Worker::State state, bool busy) {
  switch (state) {
    case Worker::State::starting:
      return "starting";
    case Worker::State::serving:
      return busy ? "busy" : "idle";
    case Worker::State::ending:
      return "ending";
    case Worker::State::gone:
      return "gone";
  }
  return "gone";
}

json heap_json(const HeapFigures& heap) {
  return {{"heapUsed", bytes_or_null(heap.heap_used)},
          {"heapTotal", bytes_or_null(heap.heap_total)},
          {"external", bytes_or_null(heap.external)},
          {"arrayBuffers", bytes_or_null(heap.array_buffers)}};
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
          {"usedBytes", memory.used.count},
          {"ratio", memory.ratio()},
          {"swapBytes", memory.workers.total.swap.count},
          {"guarantee", to_string(controller.guarantee())},
          {"thresholds", thresholds},
          {"hysteresis", pressure.thresholds().hysteresis},
          {"over", over},
          {"supervisor",
           {{"rssBytes", memory.supervisor_rss.count},
            {"heapUsedBytes", memory.heap_used.count},
            {"heapTotalBytes", memory.heap_total.count}}},
          {"workersBytes", memory.workers.total.used.count},
          {"workers", workers}};
}

}  // namespace

void Gateway::get_health(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const FeatureFlags& flags = dispatcher_.config().flags;
  const std::vector<std::string> troubles = troubles_();
  json health = {{"status", troubles.empty() ? "ok" : "degraded"},
                 {"guarantee", to_string(controller_.guarantee())},
                 {"explanation", controller_.explanation()},
                 {"troubles", troubles},
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
  respond_json(*exchange, 200, to_text(health));
}

void Gateway::get_ready(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  if (const auto refusal = dispatcher_.refusal()) {
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
  const TimePoint now = loop_.now();
  for (const auto& worker : dispatcher_.pool().workers()) {
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - worker->started());
    list.push_back({{"workerId", worker->id()},
                    {"agent", worker->agent().name},
                    {"pid", worker->pid()},
                    {"state", name_of(worker->state(), !worker->tasks().empty())},
                    {"tasks", worker->tasks()},
                    {"tasksDone", worker->tasks_done()},
                    {"startedAt", to_rfc3339(loop_.wall_now() - age)},
                    {"memoryBytes", worker->memory().count},
                    {"peakMemoryBytes", worker->peak().count},
                    {"memoryLimitBytes", worker->spec().memory_limit.count},
                    {"noiseLines", worker->noise_lines},
                    {"unknownMessages", worker->unknown_messages}});
  }
  respond_json(*exchange, 200, to_text({{"workers", list}}));
}

void Gateway::get_queue(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const TaskQueue& queue = dispatcher_.queue();
  json levels = json::array();
  for (const Priority priority : all_priorities) {
    levels.push_back({{"priority", to_string(priority)},
                      {"waiting", queue.waiting(priority)},
                      {"limit", queue.limits().per_level[static_cast<std::size_t>(priority)]}});
  }
  json tasks = json::array();
  for (const std::string& id : queue.in_order()) {
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

void Gateway::get_agents(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const Config& config = dispatcher_.config();
  std::map<std::string, int> queued;
  for (const Task* task : dispatcher_.tasks().list(
           "", dispatcher_.tasks().size(), [](const Task& t) { return t.state == TaskState::queued; })) {
    queued[task->agent] += 1;
  }
  const auto footprint_json = [&](const std::string& name, const std::string& size_class) {
    const Footprints& footprints = dispatcher_.footprints();
    const Bytes cap = memory_limit_of(config.agents.at(name), config);
    return json{{"footprintBytes", dispatcher_.footprint_of(name, size_class, cap).count},
                {"footprintSamples", footprints.samples(name, size_class)}};
  };
  json list = json::array();
  for (const auto& [name, agent] : config.agents) {
    const AgentFigures figures = dispatcher_.figures(name);
    const auto workers = std::ranges::count_if(
        dispatcher_.pool().workers(), [&](const auto& worker) { return worker->agent().name == name; });
    list.push_back({{"name", name},
                    {"protocol", agent.protocol == AgentProtocol::exec ? "exec" : "jsonl"},
                    {"workers", workers},
                    {"running", figures.running},
                    {"queued", queued[name]},
                    {"completed", figures.completed},
                    {"failed", figures.failed},
                    {"restarts", dispatcher_.pool().restarts(name)},
                    {"memoryLimitBytes", memory_limit_of(agent, config).count}});
    list.back().update(footprint_json(name, ""));
    for (const std::string& size_class : dispatcher_.footprints().size_classes(name))
      list.back()["sizeClasses"][size_class] = footprint_json(name, size_class);
  }
  respond_json(*exchange, 200, to_text({{"agents", list}}));
}

void Gateway::get_breakers(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const TimePoint now = dispatcher_.now();
  json list = json::array();
  const auto add = [&](const std::string& name, const char* kind, const CircuitBreaker& breaker) {
    const auto wait = std::chrono::ceil<std::chrono::seconds>(breaker.retry_after(now));
    list.push_back({{"name", name},
                    {"kind", kind},
                    {"state", to_string(breaker.state())},
                    {"failures", breaker.failures(now)},
                    {"retryAfter", wait.count() > 0 ? json(wait.count()) : json()}});
  };
  const CircuitBreaker unused({});  // an agent that nothing was submitted to yet
  for (const auto& [name, agent] : dispatcher_.config().agents) {
    const auto found = dispatcher_.breakers().find(name);
    add(name, "agent", found == dispatcher_.breakers().end() ? unused : found->second);
  }
  for (const auto& [name, breaker] : dispatcher_.called_breakers()) add(name, "called", breaker);
  respond_json(*exchange, 200, to_text({{"breakers", list}}));
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
