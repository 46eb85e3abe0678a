#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "config/load.h"
#include "config/setting_types.h"
#include "config/settings.h"

namespace kurultai {
namespace {

/// Of `env`: they are where secrets are.
enum class Values { hidden, told };

/// With the sizes in effect: what an agent left out is what its workers get from elsewhere.
Json agent_to_json(const AgentConfig& agent, const Config& config, Values values) {
  Json shown = Json::object();
  for (const auto& setting : agent_settings()) shown[setting.path] = setting.print(agent);
  if (values == Values::hidden) hide_values(shown["env"]);
  shown["memory_limit"] = Size::print(memory_limit_of(agent, config));
  shown["memory_warning"] = Size::print(memory_warning_of(agent, config));
  return shown;
}

Json schedules_to_json(const Config& config) {
  Json all = Json::array();
  for (const ScheduleConfig& schedule : config.schedules) {
    Json shown = Json::object();
    for (const auto& setting : schedule_settings()) shown[setting.path] = setting.print(schedule);
    shown.erase(schedule.cron.empty() ? "cron" : "every");
    all.push_back(std::move(shown));
  }
  return all;
}

Json publishers_to_json(const Config& config) {
  Json all = Json::array();
  for (const PublisherConfig& publisher : config.publishers) {
    Json shown = Json::object();
    for (const auto& setting : publisher_settings()) shown[setting.path] = setting.print(publisher);
    shown.erase(publisher.url_file.empty() ? "url_file" : "url");
    all.push_back(std::move(shown));
  }
  return all;
}

/// `memory.budget` as the JSON pointer /memory/budget.
Json::json_pointer pointer_of(std::string path) {
  std::replace(path.begin(), path.end(), '.', '/');
  return Json::json_pointer("/" + path);
}

Json shown_json(const Config& config, Values values) {
  Json shown = Json::object();
  for (const auto& setting : config_settings()) shown[pointer_of(setting.path)] = setting.print(config);
  shown["agents"] = Json::object();
  for (const auto& [name, agent] : config.agents)
    shown["agents"][name] = agent_to_json(agent, config, values);
  shown["schedules"] = schedules_to_json(config);
  shown["publishers"] = publishers_to_json(config);
  return shown;
}

/// Bytes that are not UTF-8 cannot come from a file; a Config made by a program may hold them.
std::string text_of(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

bool all_of(std::string_view text, std::string_view more) {
  return std::all_of(text.begin(), text.end(), [more](unsigned char c) {
    return std::isalnum(c) != 0 || more.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

/// 512MiB, 250ms: text to every reader of YAML. Not 1e5 and 0x1f, which are numbers to some.
bool is_quantity(std::string_view text) {
  const std::size_t unit = text.find_first_not_of("0123456789.");
  return unit != std::string_view::npos && unit > 0 &&
         std::string_view("BKMGTPkmgtpsdh").find(text[unit]) != std::string_view::npos &&
         text.find_first_of("0123456789.", unit) == std::string_view::npos && all_of(text, ".");
}

/// Words that YAML 1.1 or 1.2 takes for something else than text.
bool is_special(std::string_view text) {
  constexpr std::array<std::string_view, 9> words = {"true", "false", "null", "yes", "no",
                                                     "on",   "off",   "y",    "n"};
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::find(words.begin(), words.end(), lower) != words.end();
}

bool needs_no_quotes(std::string_view text) {
  if (text.empty()) return false;
  if (std::isdigit(static_cast<unsigned char>(text[0])) != 0) return is_quantity(text);
  const bool starts_right = std::isalpha(static_cast<unsigned char>(text[0])) != 0 || text[0] == '/';
  return starts_right && all_of(text, "_./-") && !is_special(text);
}

/// Text in double quotes is the same in JSON and YAML.
std::string scalar_to_yaml(const Json& value) {
  if (value.is_string() && needs_no_quotes(value.get_ref<const std::string&>()))
    return value.get<std::string>();
  return text_of(value);
}

void list_to_yaml(const Json& list, std::string& out) {
  const char* before = "[";
  for (const Json& item : list) {
    out.append(before).append(scalar_to_yaml(item));
    before = ", ";
  }
  out += list.empty() ? "[]" : "]";
}

void map_to_yaml(const Json& map, const std::string& indent, std::string& out) {
  for (const auto& [key, value] : map.items()) {
    out.append(indent).append(scalar_to_yaml(key)).append(":");
    if (value.is_object() && !value.empty()) {
      out += "\n";
      map_to_yaml(value, indent + "  ", out);
      continue;
    }
    out += " ";
    if (value.is_array()) {
      list_to_yaml(value, out);
    } else {
      out += scalar_to_yaml(value);  // {} too
    }
    out += "\n";
  }
}

}  // namespace

ConfigChange compare(const Config& before, const Config& after) {
  ConfigChange change;
  for (const auto& setting : config_settings()) {
    if (setting.print(before) == setting.print(after)) continue;
    (setting.applies == Applies::live ? change.live : change.needs_restart).push_back(setting.path);
  }
  const Json old_agents = shown_json(before, Values::told)["agents"],
             new_agents = shown_json(after, Values::told)["agents"];
  std::set<std::string> names;
  for (const auto& agent : before.agents) names.insert(agent.first);
  for (const auto& agent : after.agents) names.insert(agent.first);
  for (const std::string& name : names) {
    if (old_agents.value(name, Json()) != new_agents.value(name, Json()))
      change.live.push_back("agents." + name);
  }
  if (schedules_to_json(before) != schedules_to_json(after)) change.live.emplace_back("schedules");
  if (publishers_to_json(before) != publishers_to_json(after)) change.live.emplace_back("publishers");
  return change;
}

bool needs_new_workers(const AgentConfig& before, const AgentConfig& after) {
  return std::ranges::any_of(agent_settings(), [&](const auto& setting) {
    return setting.path != "health" && setting.print(before) != setting.print(after);
  });
}

std::string changed_settings(const AgentConfig& agent) {
  const AgentConfig usual;
  Json shown = Json::object();
  for (const auto& setting : agent_settings()) {
    const bool is_program = setting.path == "protocol" || setting.path == "command";
    if (!is_program && setting.print(agent) != setting.print(usual))
      shown[setting.path] = setting.print(agent);
  }
  if (shown.contains("env")) hide_values(shown["env"]);
  return text_of(shown);
}

std::string config_to_json(const Config& config) { return text_of(shown_json(config, Values::hidden)); }

std::string config_to_yaml(const Config& config) {
  std::string text;
  map_to_yaml(shown_json(config, Values::hidden), "", text);
  return text;
}

}  // namespace kurultai
