#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>

#include "config/command_template.h"
#include "config/listen_address.h"
#include "config/reading.h"

namespace kurultai {
namespace {

std::string shown(double number) { return nlohmann::json(number).dump(); }

class Checker {
 public:
  Checker(const std::string& file, Config& config, Findings& findings)
      : file_(file), config_(config), findings_(findings) {}

  void check() {
    check_thresholds();
    check_worker_sizes();
    check_gateway();
    for (std::size_t& limit : config_.queue.per_level) limit = std::min(limit, config_.queue.max_depth);
    for (const auto& [name, agent] : config_.agents) check_agent("agents." + name, agent);
    check_schedules();
    check_publishers();
  }

 private:
  /// The first of `paths` that was given says where the mistake stands.
  void refuse(std::initializer_list<std::string> paths, const std::string& text) {
    for (const std::string& path : paths) {
      if (const Place* place = findings_.place_of(path))
        return findings_.refuse(*place, *paths.begin() + ": " + text);
    }
    findings_.refuse({file_, {}}, *paths.begin() + ": " + text);
  }

  bool sound(std::initializer_list<std::string> paths) const {
    return std::none_of(paths.begin(), paths.end(),
                        [this](const auto& path) { return findings_.is_broken(path); });
  }

  bool was_given(const std::string& path) const { return findings_.place_of(path) != nullptr; }

  void check_thresholds() {
    const Thresholds& thresholds = config_.memory.thresholds;
    for (std::size_t i = 1; i < threshold_count; ++i) {
      const std::string lower = threshold_path(i - 1), upper = threshold_path(i);
      if (!sound({lower, upper}) || thresholds.ratio[i] > thresholds.ratio[i - 1]) continue;
      refuse({upper, lower},
             shown(thresholds.ratio[i]) + " must be above " + lower + ", " + shown(thresholds.ratio[i - 1]));
    }
    const std::string hysteresis = "memory.hysteresis", lowest = threshold_path(0);
    if (!sound({hysteresis, lowest}) || thresholds.hysteresis < thresholds.ratio[0]) return;
    refuse({hysteresis, lowest}, shown(thresholds.hysteresis) + " must be below the lowest threshold, " +
                                     shown(thresholds.ratio[0]) + ", or nothing would ever clear");
  }

  static std::string threshold_path(std::size_t index) {
    return "memory.thresholds." + std::string(to_string(static_cast<Threshold>(index)));
  }

  void check_worker_sizes() {
    WorkersConfig& workers = config_.workers;
    const std::string limit = "workers.memory_limit", warning = "workers.memory_warning";
    check_against_budget(limit, workers.memory_limit);
    if (!sound({limit, warning}) || workers.memory_warning <= workers.memory_limit) return;
    if (was_given(warning)) {
      refuse({warning}, above_limit(workers.memory_warning, workers.memory_limit));
    } else {
      workers.memory_warning = workers.memory_limit;
    }
  }

  void check_against_budget(const std::string& path, Bytes limit) {
    const std::optional<Bytes>& budget = config_.memory.budget;
    if (!budget || limit <= *budget || !sound({path, "memory.budget"})) return;
    refuse({path, "memory.budget"}, to_string(limit) + " is more than memory.budget, " + to_string(*budget));
  }

  static std::string above_limit(Bytes warning, Bytes limit) {
    return to_string(warning) + " is above the limit, " + to_string(limit);
  }

  void check_schedules() {
    std::set<std::string> names;
    for (std::size_t i = 0; i < config_.schedules.size(); ++i) {
      const std::string path = "schedules." + std::to_string(i);
      if (sound({path})) check_schedule(path, config_.schedules[i], names);
    }
  }

  void check_schedule(const std::string& path, const ScheduleConfig& schedule, std::set<std::string>& names) {
    if (schedule.agent.empty()) return refuse({path}, "agent is missing");
    if (!config_.agents.contains(schedule.agent))
      return refuse({path + ".agent"}, "there is no agent " + in_quotes(schedule.agent));
    if ((schedule.every.count() > 0) != schedule.cron.empty())
      return refuse({path}, "one of every and cron says when, as in `every: 30s`");
    if (schedule.every.count() > 0 && schedule.jitter >= schedule.every)
      return refuse({path + ".jitter"}, "must be shorter than every, " + to_string(schedule.every));
    if (!names.insert(schedule.name).second)
      refuse({path},
             "there is a schedule " + in_quotes(schedule.name) + " already; give one of them a `name`");
  }

  void check_publishers() {
    std::set<std::string> names;
    for (std::size_t i = 0; i < config_.publishers.size(); ++i) {
      const std::string path = "publishers." + std::to_string(i);
      if (sound({path})) check_publisher(path, config_.publishers[i], names);
    }
  }

  void check_publisher(const std::string& path, PublisherConfig& publisher, std::set<std::string>& names) {
    if (publisher.url.empty() == publisher.url_file.empty())
      return refuse({path},
                    "one of url and url_file says where to, as in `url: https://ops.example.org/kurultai`");
    if (!was_given(path + ".connect_timeout")) {
      publisher.connect_timeout = std::min(publisher.connect_timeout, publisher.timeout);
    } else if (publisher.connect_timeout > publisher.timeout) {
      return refuse(
          {path + ".connect_timeout"},
          to_string(publisher.connect_timeout) + " is more than timeout, " + to_string(publisher.timeout));
    }
    if (!names.insert(publisher.name).second)
      refuse({path},
             "there is a publisher " + in_quotes(publisher.name) + " already; give one of them a `name`");
  }

  void check_gateway() {
    if (config_.gateway.auth || !sound({"gateway.listen", "gateway.auth"})) return;
    const auto address = parse_listen(config_.gateway.listen);
    if (!address || !*address || is_loopback((*address)->host)) return;
    refuse({"gateway.auth", "gateway.listen"},
           "none is for loopback addresses only, and gateway.listen is " + config_.gateway.listen);
  }

  void check_agent(const std::string& path, const AgentConfig& agent) {
    check_agent_sizes(path, agent);
    check_streams(path, agent);
    if (sound({path, path + ".command"})) check_command(path, agent);
    check_place(path, agent);
    check_health(path, agent);
    const bool one_slot = agent.protocol != AgentProtocol::exec || agent.concurrency == 1;
    if (one_slot || !sound({path + ".protocol", path + ".concurrency"})) return;
    refuse({path + ".concurrency"}, "an exec agent runs one task at a time; leave it out or write 1");
  }

  void check_streams(const std::string& path, const AgentConfig& agent) {
    if (agent.protocol == AgentProtocol::exec || !sound({path + ".protocol"})) return;
    const bool maps = agent.output.kind == OutputKind::jsonl || agent.output.kind == OutputKind::none;
    if (maps && sound({path + ".output"})) refuse({path + ".output"}, "is for exec agents alone");
    if (agent.input != payload_input) refuse({path + ".stdin"}, "is for exec agents alone");
  }

  void check_place(const std::string& path, const AgentConfig& agent) {
    if (!agent.home.empty() && agent.env.contains("HOME"))
      refuse({path + ".home", path + ".env"}, "env sets HOME already; leave one of them out");
    if (agent.tmp.is_private && agent.env.contains("TMPDIR"))
      refuse({path + ".tmp", path + ".env"}, "env sets TMPDIR already; leave one of them out");
    const bool all_writable = !agent.cwd.empty() && agent.cwd.find_first_not_of("/.") == std::string::npos &&
                              agent.cwd.starts_with('/');
    if (agent.sandbox.kind != SandboxKind::none && all_writable)
      refuse({path + ".cwd"}, "a sandbox may write to its cwd, and this one is everything");
  }

  void check_health(const std::string& path, const AgentConfig& agent) {
    if (agent.protocol != AgentProtocol::exec || agent.health.rule.strategy == HealthStrategy::passive)
      return;
    if (sound({path + ".protocol", path + ".health"}))
      refuse({path + ".health"},
             "an exec agent runs no process between its tasks; leave it out or write passive");
  }

  void check_agent_sizes(const std::string& path, const AgentConfig& agent) {
    const std::string limit = path + ".memory_limit", warning = path + ".memory_warning";
    if (agent.memory_limit) check_against_budget(limit, *agent.memory_limit);
    const Bytes most = memory_limit_of(agent, config_);
    if (!agent.memory_warning || *agent.memory_warning <= most) return;
    if (sound({limit, warning, "workers.memory_limit"}))
      refuse({warning}, above_limit(*agent.memory_warning, most));
  }

  void check_command(const std::string& path, const AgentConfig& agent) {
    if (agent.command.empty()) return refuse({path}, "command is missing");
    const std::string command = path + ".command";
    if (agent.command[0].empty()) return refuse_argument(command, 0, "the program's name is empty");
    if (agent.protocol != AgentProtocol::exec || !sound({path + ".protocol"})) return;
    for (std::size_t i = 0; i < agent.command.size(); ++i) check_argument(command, i, agent.command[i]);
    if (agent.input == payload_input) return;
    if (const auto pieces = parse_template(agent.input); !pieces)
      refuse({path + ".stdin"}, pieces.error().message);
  }

  void check_argument(const std::string& command, std::size_t index, const std::string& argument) {
    const auto pieces = parse_template(argument);
    if (!pieces) return refuse_argument(command, index, pieces.error().message);
    const bool has_field =
        std::any_of(pieces->begin(), pieces->end(), [](const auto& piece) { return piece.is_field; });
    if (index > 0 || !has_field) return;
    refuse_argument(command, index,
                    "the program itself cannot come from the payload; {field} is for arguments");
  }

  void refuse_argument(const std::string& command, std::size_t index, const std::string& text) {
    const Place* item = findings_.place_of(command + "." + std::to_string(index));
    const Place* list = findings_.place_of(command);
    if (item == nullptr || list == nullptr || item->file != list->file) return refuse({command}, text);
    findings_.refuse(*item, command + ": " + text);
  }

  const std::string& file_;
  Config& config_;
  Findings& findings_;
};

}  // namespace

void check_config(const std::string& file, Config& config, Findings& findings) {
  Checker(file, config, findings).check();
}

}  // namespace kurultai
