#include "config/load.h"
#include "config/setting_types.h"
#include "config/settings.h"

namespace kurultai {
namespace {

/// Null is good: a section whose every line is commented out.
Json section(std::string_view about) {
  Json schema = {
      {"type", {"object", "null"}}, {"additionalProperties", false}, {"properties", Json::object()}};
  if (!about.empty()) schema["description"] = about;
  return schema;
}

template <typename Root>
void add_setting(Json& top, const Setting<Root>& setting) {
  Json* place = &top;
  std::string_view path = setting.path;
  for (std::size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
    Json& inner = (*place)["properties"][std::string(path.substr(0, dot))];
    if (inner.is_null()) inner = section("");
    place = &inner;
    path.remove_prefix(dot + 1);
  }
  Json schema = setting.schema();
  const bool live = setting.applies == Applies::live;
  schema["description"] = setting.about + (live ? "." : ". A change takes effect with the next start.");
  static const Root defaults;
  if (Json value = setting.print(defaults); !value.is_null()) schema["default"] = std::move(value);
  (*place)["properties"][std::string(path)] = std::move(schema);
}

Json agents_schema() {
  Json agent = section("How the agent is run.");
  agent["type"] = "object";
  for (const auto& setting : agent_settings()) add_setting(agent, setting);
  agent["properties"]["command"].erase("default");
  agent["required"] = {"command"};
  return {{"type", {"object", "null"}},
          {"description", "The agents, by name."},
          {"propertyNames", {{"pattern", agent_name_pattern}}},
          {"additionalProperties", std::move(agent)}};
}

Json schedules_schema() {
  Json schedule = section("");
  schedule["type"] = "object";
  for (const auto& setting : schedule_settings()) add_setting(schedule, setting);
  schedule["required"] = {"agent"};
  schedule["oneOf"] = {{{"required", {"every"}}}, {{"required", {"cron"}}}};
  return {{"type", {"array", "null"}},
          {"description", "Tasks that come again and again."},
          {"maxItems", most_schedules},
          {"items", std::move(schedule)}};
}

Json publishers_schema() {
  Json publisher = section("");
  publisher["type"] = "object";
  for (const auto& setting : publisher_settings()) add_setting(publisher, setting);
  publisher["oneOf"] = {{{"required", {"url"}}}, {{"required", {"url_file"}}}};
  return {{"type", {"array", "null"}},
          {"description", "Who outside is told of events."},
          {"maxItems", most_publishers},
          {"items", std::move(publisher)}};
}

}  // namespace

std::string config_schema() {
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", "Kurultai configuration"}};
  schema.update(section("What kurultaid is told by memory.yaml."));
  for (const auto& setting : config_settings()) add_setting(schema, setting);
  schema["properties"]["agents"] = agents_schema();
  schema["properties"]["schedules"] = schedules_schema();
  schema["properties"]["publishers"] = publishers_schema();
  return schema.dump(2) + "\n";
}

}  // namespace kurultai
