// g++ 12 takes members of std::regex for uninitialized when it compiles with sanitizers (GCC bug 105562).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "config/settings.h"
#include "tests/config/configs.h"

namespace kurultai::schema_test {
using namespace kurultai::testing;
using nlohmann::json;

namespace {

json schema() { return json::parse(config_schema()); }

/// The schema of a setting; null when the path is not there.
json at_path(json place, std::string path) {
  while (!path.empty() && place.is_object()) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    place = place.value("properties", json::object()).value(path.substr(0, dot), json());
    path.erase(0, dot + 1);
  }
  return place;
}

void check_closed(const json& place) {
  if (!place.contains("properties")) return;
  CHECK(place["additionalProperties"] == false);
  for (const json& inner : place["properties"]) check_closed(inner);
}

std::size_t count_settings(const json& place) {
  if (!place.contains("properties")) return 1;
  std::size_t count = 0;
  for (const json& inner : place["properties"]) count += count_settings(inner);
  return count;
}

/// Whether a value fits: the keywords that the schema uses, no others.
bool fits(const json& value, const json& rule) {
  if (rule.contains("anyOf")) {
    return std::any_of(rule["anyOf"].begin(), rule["anyOf"].end(),
                       [&](const json& one) { return fits(value, one); });
  }
  if (rule.contains("const")) return value == rule["const"];
  if (rule.contains("enum"))
    return std::find(rule["enum"].begin(), rule["enum"].end(), value) != rule["enum"].end();
  const std::set<std::string> types = rule["type"].is_array() ? rule["type"].get<std::set<std::string>>()
                                                              : std::set{rule["type"].get<std::string>()};
  std::string type = value.type_name();
  if (value.is_number_integer()) type = types.contains("integer") ? "integer" : "number";
  if (!types.contains(type)) return false;
  if (value.is_string() && rule.contains("pattern")) {
    return std::regex_search(value.get<std::string>(), std::regex(rule["pattern"].get<std::string>()));
  }
  if (value.is_number() && rule.contains("minimum") && value < rule["minimum"]) return false;
  if (value.is_number() && rule.contains("maximum") && value > rule["maximum"]) return false;
  if (value.is_array()) {
    return std::all_of(value.begin(), value.end(),
                       [&](const json& item) { return fits(item, rule["items"]); });
  }
  if (!value.is_object()) return true;
  for (const auto& [key, inner] : value.items()) {
    if (rule.contains("propertyNames") &&
        !fits(key, {{"type", "string"}, {"pattern", rule["propertyNames"]["pattern"]}})) {
      return false;
    }
    const json named = rule.value("properties", json::object()).value(key, json());
    const json& inner_rule = named.is_null() ? rule["additionalProperties"] : named;
    if (inner_rule == false || !fits(inner, inner_rule)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("the schema holds every setting with its default and a description, and nothing else") {
  const json whole = schema();
  CHECK(whole["$schema"] == "https://json-schema.org/draft/2020-12/schema");
  const Config defaults;
  for (const auto& setting : config_settings()) {
    CAPTURE(setting.path);
    const json found = at_path(whole, setting.path);
    REQUIRE(found.is_object());
    CHECK(found["default"] == json(setting.print(defaults)));
    CHECK(found["description"].get<std::string>().size() > 10);
  }
  CHECK(count_settings(whole) == config_settings().size() + 3);  // agents, schedules, publishers
}

TEST_CASE("the schema holds every setting of an agent") {
  const json agent = schema()["properties"]["agents"]["additionalProperties"];
  CHECK(agent["required"] == json{"command"});
  for (const auto& setting : agent_settings()) {
    CAPTURE(setting.path);
    const json found = at_path(agent, setting.path);
    REQUIRE(found.is_object());
    CHECK(found.contains("description"));
    const json value = setting.print(AgentConfig{});
    CHECK(found.value("default", json()) == (setting.path == "command" ? json() : value));
  }
  CHECK(count_settings(agent) == agent_settings().size());
}

TEST_CASE("the schema lets no other keys in") {
  const json whole = schema();
  check_closed(whole);
  check_closed(whole["properties"]["agents"]["additionalProperties"]);
}

TEST_CASE("defaults fit their own schema") {
  for (const auto& setting : config_settings()) {
    CAPTURE(setting.path);
    CHECK(fits(setting.print(Config{}), json(setting.schema())));
  }
}

TEST_CASE("the configuration in effect fits the schema") {
  const auto config =
      load_config(std::string(KURULTAI_SOURCE_DIR) + "/config/memory.yaml", environment_of({}));
  REQUIRE(config.has_value());
  CHECK(fits(json::parse(config_to_json(*config)), schema()));
}

TEST_CASE("the schema and the reader agree") {
  struct Case {
    std::string json_text;
    bool good;
  };
  for (const Case& c : {
           Case{R"({"memory":{"budget":"auto"}})", true},
           Case{R"({"memory":{"budget":"1.5 GiB"}})", true},
           Case{R"({"memory":{"budget":1073741824}})", true},
           Case{R"({"memory":{"budget":"lots"}})", false},
           Case{R"({"memory":{"budget":5}})", false},
           Case{R"({"memory":{"check_interval":5}})", false},
           Case{R"({"memory":{"check_interval":"1m30s"}})", true},
           Case{R"({"memory":{"check_interval":"1 fortnight"}})", false},
           Case{R"({"memory":{"cgroup_parent":"/a/../b"}})", false},
           Case{R"({"memory":{"cgroup_parent":"/.."}})", false},
           Case{R"({"memory":{"cgroup_parent":"/a..b"}})", true},
           Case{R"({"memory":{"cgroup_parent":"a"}})", false},
           Case{R"({"memory":null})", true},
           Case{R"({"memory":{"budgets":"1GiB"}})", false},
           Case{R"({"workers":{"idle_timeout":0}})", true},
           Case{R"({"workers":{"max":"2"}})", false},
           Case{R"({"workers":{"max":0}})", false},
           Case{R"({"workers":{"max":"auto"}})", true},
           Case{R"({"admission":"none"})", true},
           Case{R"({"admission":"some"})", false},
           Case{R"({"exec":{"allow":"true"}})", false},
           Case{R"({"gateway":{"auth":"none"}})", true},
           Case{R"({"gateway":{"listen":"[::1]:80"}})", true},
           Case{R"({"gateway":{"cors_origins":["https://a.example","http://[::1]:3000"]}})", true},
           Case{R"({"gateway":{"cors_origins":["*"]}})", false},
           Case{R"({"gateway":{"listen":"80"}})", false},
           Case{R"({"circuit_breakers":{"backoff":["1s","2s"]}})", true},
           Case{R"({"circuit_breakers":{"backoff":["x"]}})", false},
           Case{R"({"agents":{"a":{"command":["x",5,true]}}})", true},
           Case{R"({"agents":{"a":{"command":"x"}}})", false},
           Case{R"({"agents":{"a":{"command":["x"],"env":{"A":1,"B":"2"}}}})", true},
           Case{R"({"agents":{"a":{"command":["x"],"env":{"A B":1}}}})", false},
           Case{R"({"agents":{"a":{"command":["x"],"user":"-x"}}})", false},
           Case{R"({"agents":{"exec":{"command":["x"]}}})", false},
           Case{R"({"agents":{"executor":{"command":["x"]}}})", true},
           Case{R"({"agents":{"..":{"command":["x"]}}})", false},
           Case{R"({"agents":{"a b":{"command":["x"]}}})", false},
       }) {
    CAPTURE(c.json_text);
    CAPTURE(joined(errors_of(c.json_text)));
    CHECK(errors_of(c.json_text).empty() == c.good);
    CHECK(fits(json::parse(c.json_text), schema()) == c.good);
  }
}

}  // namespace kurultai::schema_test
