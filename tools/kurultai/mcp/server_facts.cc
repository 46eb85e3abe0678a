#include "tools/kurultai/mcp/server_facts.h"

#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "protocol/version.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/mcp/message.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr const char* instructions =
    "Kurultai runs agents as tasks under one memory budget. list_agents names the agents, submit_task hands "
    "one a "
    "task (waitSeconds waits for its end), wait_for_task waits on, read_result reads a long result in parts, "
    "and "
    "task_logs shows what a failed one wrote. A refusal has a code; with retryAfter it is worth trying again "
    "after "
    "so many seconds. memory_headroom tells how much memory is left before that happens.";

JsonText facts_of_server(const json& params, json capabilities, json server, const std::string& text) {
  json out = {{"protocolVersion", negotiate_version(text_field(params, "protocolVersion"))},
              {"capabilities", std::move(capabilities)},
              {"serverInfo", std::move(server)}};
  if (!text.empty()) out["instructions"] = text;
  return to_text(out);
}

}  // namespace

JsonText supervisor_facts(const json& params) {
  return facts_of_server(params, {{"tools", json::object()}, {"resources", json::object()}},
                         {{"name", "kurultai"}, {"title", "Kurultai"}, {"version", project_version}},
                         instructions);
}

JsonText agent_facts(const json& params, const json& said) {
  json capabilities = json::object();
  for (const char* one : {"tools", "resources", "prompts", "completions"}) {
    if (field(field(said, "capabilities"), one).is_object()) capabilities[one] = json::object();
  }
  return facts_of_server(params, std::move(capabilities), field(said, "serverInfo"),
                         text_field(said, "instructions"));
}

JsonText unknown_agent_facts(const json& params, const std::string& agent, const std::string& why) {
  const json all = {{"tools", json::object()}, {"resources", json::object()}, {"prompts", json::object()}};
  return facts_of_server(params, all, {{"name", agent}, {"version", project_version}},
                         "It cannot be used now: " + why);
}

}  // namespace kurultai
