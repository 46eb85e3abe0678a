// From memory.yaml and the environment to a Config, or to every error at once. The settings stand in one
// table (settings.cc): reading, environment names, `config show`, the JSON Schema and reload all come from
// it.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "protocol/error.h"

namespace kurultai {

/// One mistake: where, and what to write instead. `to_string` gives `FILE:LINE:COLUMN: text`; settings that
/// came from the environment name the variable in place of the position.
struct ConfigError {
  std::string file;
  int line = 0;  // from 1; 0: no position
  int column = 0;
  std::string text;
};
std::string to_string(const ConfigError& error);

template <typename T>
using ConfigResult = std::expected<T, std::vector<ConfigError>>;

/// getenv, or a table in tests.
using Environment = std::function<std::optional<std::string>(std::string_view name)>;
Environment process_environment();

inline constexpr std::size_t max_config_bytes = std::size_t{4} << 20;

/// Reads and checks `path`. A directory, an unreadable or too large file is one error without a position.
ConfigResult<Config> load_config(const std::string& path, const Environment& environment);
/// The same from text; `file` is the name used in errors.
ConfigResult<Config> parse_config(std::string_view text, const std::string& file,
                                  const Environment& environment);

/// The file to use when none is named: ./config/memory.yaml, $XDG_CONFIG_HOME/kurultai/memory.yaml
/// (~/.config without it), /etc/kurultai/memory.yaml; nullopt when none exists.
std::optional<std::string> find_config(const Environment& environment);

/// What changed between two configurations, as setting paths. Agents are compared whole: `agents.NAME`, also
/// when only a cap that they have from `workers` changed.
struct ConfigChange {
  std::vector<std::string> live;           // takes effect at once
  std::vector<std::string> needs_restart;  // takes effect with the next start
};
ConfigChange compare(const Config& before, const Config& after);

/// Whether a worker that was started with `before` cannot go on under `after`: only its checks of health can
/// change while it lives.
bool needs_new_workers(const AgentConfig& before, const AgentConfig& after);

/// JSON Schema (draft 2020-12) of memory.yaml.
std::string config_schema();
/// The whole configuration in effect, defaults included, as JSON in the shape of memory.yaml. Agents are
/// shown with the sizes that their workers really get. Feature flags are not in it: the file has none. Values
/// of `env` are hidden, as they are everywhere: they are where secrets are.
std::string config_to_json(const Config& config);
/// The same as YAML; it loads back to the same configuration, but for `env`.
std::string config_to_yaml(const Config& config);
/// What an agent's settings are where they differ from the default, in the same shape, without its program
/// (`protocol`, `command`).
std::string changed_settings(const AgentConfig& agent);

}  // namespace kurultai
