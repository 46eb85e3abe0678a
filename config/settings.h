// The table of settings: what each is called, how it is read, printed and described, and when a change of it
// takes effect. Reading, environment names, `config show`, the JSON Schema and reload are loops over these
// tables; a new setting is a new row. Settings of one agent have a table of their own.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/yaml_tree.h"

namespace kurultai {

enum class Applies { live, at_restart };

template <typename Root>
struct Setting {
  std::string path;  // memory.thresholds.preempt; of an agent: relative to it
  std::string about;
  Applies applies = Applies::live;
  bool structured = false;  // a list or map: its variable is read as YAML

  /// Changes `root` only when the value is good; otherwise `refuse` is told.
  std::function<void(const YamlNode& node, Root& root,
                     const std::function<void(Position, const std::string&)>& refuse)>
      read;
  /// In the shape of the file; null when the setting is absent.
  std::function<nlohmann::ordered_json(const Root& root)> print;
  /// Without description and default.
  std::function<nlohmann::ordered_json()> schema;
};

const std::vector<Setting<Config>>& config_settings();
const std::vector<Setting<AgentConfig>>& agent_settings();
const std::vector<Setting<ScheduleConfig>>& schedule_settings();
const std::vector<Setting<PublisherConfig>>& publisher_settings();

inline constexpr std::size_t most_schedules = 1000;
inline constexpr std::size_t most_publishers = 16;

/// Reserved for commands that the client names (`kurultai exec`).
inline constexpr std::string_view reserved_agent = "exec";
inline constexpr std::string_view agent_name_pattern = "^(?!(exec|\\.{1,2})$)[A-Za-z0-9_.-]{1,64}$";
/// What is wrong with an agent's name; empty: nothing.
std::string wrong_agent_name(std::string_view name);

/// `KURULTAI_` and the path in capitals, everything but letters and digits as `_`.
std::string variable_of(std::string_view path);

/// A second, shorter name of a setting in the environment.
struct ShortVariable {
  std::string_view name;
  std::string_view path;
};
inline constexpr ShortVariable short_variables[] = {{"KURULTAI_MAX_WORKERS", "workers.max"},
                                                    {"KURULTAI_MONITORING_TIER", "memory.monitoring_tier"}};

}  // namespace kurultai
