// Routes about agents: all of them in brief, and one in full.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "config/near_name.h"
#include "protocol/json_text.h"
#include "protocol/utf8.h"
#include "supervisor/gateway/gateway.h"
#include "supervisor/gateway/state_json.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr std::size_t most_tasks = 50;  // that are shown of one agent; its figures count all

json footprint_json(const Dispatcher& dispatcher, const std::string& name, const std::string& size_class) {
  const Config& config = dispatcher.config();
  const Bytes cap = memory_limit_of(config.agents.at(name), config);
  return {{"footprintBytes", dispatcher.footprint_of(name, size_class, cap).count},
          {"footprintSamples", dispatcher.footprints().samples(name, size_class)}};
}

/// What the list says of it, but for the tasks that wait.
json agent_json(const Dispatcher& dispatcher, const std::string& name) {
  const Config& config = dispatcher.config();
  const AgentConfig& agent = config.agents.at(name);
  const AgentFigures figures = dispatcher.figures(name);
  const auto workers = std::ranges::count_if(
      dispatcher.pool().workers(), [&](const auto& worker) { return worker->agent().name == name; });
  json object = {{"name", name},
                 {"protocol", to_string(agent.protocol)},
                 {"workers", workers},
                 {"running", figures.running},
                 {"completed", figures.completed},
                 {"failed", figures.failed},
                 {"restarts", dispatcher.pool().restarts(name)},
                 {"memoryLimitBytes", memory_limit_of(agent, config).count}};
  object.update(footprint_json(dispatcher, name, ""));
  for (const Tool& tool : dispatcher.tools_of(name))
    object["tools"].push_back({{"name", tool.name}, {"description", tool.description}});
  for (const std::string& size_class : dispatcher.footprints().size_classes(name))
    object["sizeClasses"][size_class] = footprint_json(dispatcher, name, size_class);
  return object;
}

json outcomes_json(const AgentFigures& figures) {
  json failures = json::object();
  for (const auto& [reason, count] : figures.failures) failures[std::string(to_string(reason))] = count;
  return {{"completed", figures.completed},
          {"cancelled", figures.cancelled},
          {"evicted", figures.evicted},
          {"failed", failures}};
}

json workers_of(const Dispatcher& dispatcher, const std::string& name, TimePoint now, WallTime wall_now) {
  json list = json::array();
  for (const auto& worker : dispatcher.pool().workers()) {
    if (worker->agent().name == name)
      list.push_back(worker_json(*worker, dispatcher.health_of(*worker), now, wall_now));
  }
  return list;
}

/// Those that have a worker, the oldest first, then those that wait, in the order in which they would start.
struct TasksOfAgent {
  json list = json::array();
  std::size_t queued = 0;  // all of them
};

TasksOfAgent tasks_of(const Dispatcher& dispatcher, const std::string& name) {
  TasksOfAgent tasks;
  const auto runs = [&name](const Task& task) {
    return task.agent == name && (task.state == TaskState::running || task.state == TaskState::suspended);
  };
  for (const Task* task : dispatcher.tasks().list("", most_tasks, runs))
    tasks.list.push_back(json::parse(to_json(*task)));
  for (const std::string& id : dispatcher.queue().in_order()) {
    const Task* task = dispatcher.tasks().find(id);
    if (task == nullptr || task->agent != name || !task->accepted) continue;
    tasks.queued += 1;
    if (tasks.list.size() < most_tasks) tasks.list.push_back(json::parse(to_json(*task)));
  }
  return tasks;
}

json metrics_json(const Dispatcher& dispatcher, const std::string& name) {
  json list = json::array();
  const auto said = dispatcher.agent_metrics().find(name);
  if (said == dispatcher.agent_metrics().end()) return list;
  for (const auto& [metric, known] : said->second.values) {
    list.push_back({{"name", metric},
                    {"kind", known.kind == Metric::Kind::counter ? "counter" : "gauge"},
                    {"value", known.value}});
  }
  return list;
}

std::string no_such_agent(const Config& config, const std::string& name) {
  std::vector<std::string> names;
  names.reserve(config.agents.size());
  for (const auto& known : config.agents) names.push_back(known.first);
  const auto near = near_name(name, names);
  return "there is no agent '" + std::string(utf8_prefix(name, 64)) + "'; " +
         (near ? "did you mean '" + *near + "'?" : "`kurultai agents` lists them");
}

}  // namespace

bool Gateway::refuse_unknown_agent(Exchange& exchange, const std::string& name) const {
  const Config& config = dispatcher_.config();
  if (config.agents.contains(name)) return false;
  respond_error(exchange, 404, "not_found", no_such_agent(config, name));
  return true;
}

void Gateway::get_agents(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  std::map<std::string, int> queued;
  for (const Task* task : dispatcher_.tasks().list(
           "", dispatcher_.tasks().size(), [](const Task& t) { return t.state == TaskState::queued; })) {
    queued[task->agent] += 1;
  }
  json list = json::array();
  for (const auto& [name, agent] : dispatcher_.config().agents) {
    list.push_back(agent_json(dispatcher_, name));
    list.back()["queued"] = queued[name];
  }
  respond_json(*exchange, 200, to_text({{"agents", list}}));
}

void Gateway::get_agent(const std::shared_ptr<Exchange>& exchange, const std::string& name) {
  const Config& config = dispatcher_.config();
  if (refuse_unknown_agent(*exchange, name)) return;
  const AgentConfig& agent = config.agents.at(name);
  const auto breaker = dispatcher_.breakers().find(name);
  TasksOfAgent tasks = tasks_of(dispatcher_, name);
  json object = agent_json(dispatcher_, name);
  object["queued"] = tasks.queued;
  object["command"] = agent.command;
  object["memoryWarningBytes"] = memory_warning_of(agent, config).count;
  object["settings"] = json::parse(changed_settings(agent));
  object["outcomes"] = outcomes_json(dispatcher_.figures(name));
  object["breaker"] = breaker_json(
      breaker == dispatcher_.breakers().end() ? CircuitBreaker({}) : breaker->second, dispatcher_.now());
  object["workerList"] = workers_of(dispatcher_, name, loop_.now(), loop_.wall_now());
  object["tasks"] = std::move(tasks.list);
  object["metrics"] = metrics_json(dispatcher_, name);
  respond_json(*exchange, 200, to_text(object));
}

}  // namespace kurultai
