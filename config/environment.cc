#include <unistd.h>

#include <cstdlib>

#include "config/load.h"
#include "config/reading.h"
#include "config/settings.h"

namespace kurultai {
namespace {

YamlNode plain_word(const std::string& text) {
  YamlNode node;
  node.kind = YamlNode::Kind::scalar;
  node.text = text;
  node.plain = true;
  return node;
}

/// A list or map is written in a variable as it is in the file.
std::optional<YamlNode> node_of(const std::string& text, bool structured, const Place& place,
                                Findings& findings) {
  if (!structured) return plain_word(text);
  std::vector<YamlMistake> complaints;
  auto node = parse_yaml(text, complaints);
  for (const YamlMistake& complaint : complaints) findings.refuse(place, complaint.text);
  return node;
}

template <typename Root>
void read_variable(const std::string& variable, const Setting<Root>& setting, const std::string& path,
                   const Environment& environment, Root& root, Findings& findings) {
  const auto text = environment(variable);
  if (!text || text->empty()) return;
  const Place place{variable, {}};
  findings.given(path, place);
  const std::size_t before = findings.count();
  if (const auto node = node_of(*text, setting.structured, place, findings)) {
    setting.read(*node, root, [&](Position, const std::string& wrong) { findings.refuse(place, wrong); });
  }
  if (findings.count() > before) findings.broken(path);
}

/// The whole list.
void read_list_variable(const std::string& key, const Environment& environment, Config& config,
                        Findings& findings) {
  const std::string variable = variable_of(key);
  const auto text = environment(variable);
  if (!text || text->empty()) return;
  if (const auto node = node_of(*text, true, {variable, {}}, findings))
    read_list(key, *node, variable, config, findings);
}

void read_flag(std::string_view variable, const Environment& environment, bool& flag) {
  flag = environment(variable) != "false";
}

bool is_there(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

}  // namespace

void read_environment(const Environment& environment, Config& config, Findings& findings) {
  for (const Setting<Config>& setting : config_settings()) {
    for (const ShortVariable& other : short_variables) {
      if (other.path != setting.path) continue;
      read_variable(std::string(other.name), setting, setting.path, environment, config, findings);
    }
    read_variable(variable_of(setting.path), setting, setting.path, environment, config, findings);
  }
  for (auto& [name, agent] : config.agents) {
    for (const Setting<AgentConfig>& setting : agent_settings()) {
      const std::string path = "agents." + name + "." + setting.path;
      read_variable(variable_of(path), setting, path, environment, agent, findings);
    }
  }
  for (const std::string& key : list_keys()) read_list_variable(key, environment, config, findings);
  read_flag("FF_MEMORY_GOVERNANCE", environment, config.flags.memory_governance);
  read_flag("FF_WORKER_POOL", environment, config.flags.worker_pool);
  read_flag("FF_CIRCUIT_BREAKERS", environment, config.flags.circuit_breakers);
}

Environment process_environment() {
  return [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

std::optional<std::string> find_config(const Environment& environment) {
  const auto value_of = [&environment](std::string_view name) { return environment(name).value_or(""); };
  std::vector<std::string> places = {"config/memory.yaml"};
  if (const std::string base = value_of("XDG_CONFIG_HOME"); !base.empty()) {
    places.push_back(base + "/kurultai/memory.yaml");
  } else if (const std::string home = value_of("HOME"); !home.empty()) {
    places.push_back(home + "/.config/kurultai/memory.yaml");
  }
  places.emplace_back("/etc/kurultai/memory.yaml");
  for (const std::string& place : places) {
    if (is_there(place)) return place;
  }
  return std::nullopt;
}

}  // namespace kurultai
