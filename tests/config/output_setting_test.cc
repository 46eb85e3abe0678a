// `output` and `stdin` of exec agents.
#include <nlohmann/json.hpp>

#include "tests/config/configs.h"

namespace kurultai::output_setting_test {
using namespace kurultai::testing;
using nlohmann::json;

namespace {

std::string agent(const std::string& settings) {
  return "agents:\n  a: {protocol: exec, command: [x], " + settings + "}\n";
}

const AgentConfig& only(const Config& config) { return config.agents.at("a"); }

}  // namespace

TEST_CASE("an output is a word or a map") {
  struct Row {
    const char* text;
    OutputKind kind;
  };
  for (const Row& row : {Row{"text", OutputKind::text}, Row{"json", OutputKind::json},
                         Row{"none", OutputKind::none}, Row{"{format: json}", OutputKind::json}}) {
    const Config config = config_of(agent(std::string("output: ") + row.text));
    CHECK_MESSAGE(only(config).output == AgentOutput{.kind = row.kind}, row.text);
  }
  CHECK(only(config_of("agents: {a: {command: [x]}}")).output.kind == OutputKind::text);
}

TEST_CASE("rules are read as they stand") {
  const Config config = config_of(R"(
agents:
  a:
    protocol: exec
    command: [x]
    output:
      format: jsonl
      rules:
        - {when: {type: result, ok: true, n: 5, word: "5"}, result: $.text, join: true}
        - {when: {item.type: [a, b]}, progress: [$.x, "$.y[*].z"]}
        - error: $.error.message
)");
  const AgentOutput& output = only(config).output;
  CHECK(output.kind == OutputKind::jsonl);
  REQUIRE(output.rules.size() == 3);
  CHECK(
      to_json(output.rules[0]) ==
      json::parse(R"({"when":{"type":"result","ok":true,"n":5,"word":"5"},"result":"$.text","join":true})"));
  CHECK(to_json(output.rules[1]) ==
        json::parse(R"({"when":{"item.type":["a","b"]},"progress":["$.x","$.y[*].z"]})"));
  CHECK(to_json(output.rules[2]) == json::parse(R"({"error":"$.error.message"})"));
  CHECK(only(config_of(config_to_yaml(config))).output == output);
  CHECK(only(config_of(config_to_json(config))).output == output);
  CHECK(!compare(config, config_of(agent("output: text"))).live.empty());
}

TEST_CASE("a wrong output is refused where it stands") {
  struct Row {
    const char *text, *words;
  };
  const std::string many = "output: {format: jsonl, rules: [" + [] {
    std::string list;
    for (std::size_t i = 0; i <= most_output_rules; ++i) list += "{result: a}, ";
    return list;
  }() + "]}";
  for (const Row& row :
       {Row{"output: xml", "expected"}, Row{"output: jsonl", "jsonl needs rules"},
        Row{"output: [text]", "expected"}, Row{"output: {rules: [{result: a}]}", "format is missing"},
        Row{"output: {format: jsonl}", "jsonl needs rules"},
        Row{"output: {format: text, rules: [{result: a}]}", "rules are for the format jsonl"},
        Row{"output: {format: jsonl, rules: []}", "expected a list of 1 to 32"},
        Row{"output: {format: jsonl, rules: {result: a}}", "expected a list of 1 to 32"},
        Row{many.c_str(), "1 to 32"},
        Row{"output: {format: jsonl, rule: [{result: a}]}", "unknown key 'rule'"},
        Row{"output: {format: jsonl, rules: [{progress: a}]}", "none of them says where the result is"},
        Row{"output: {format: jsonl, rules: [{result: a}, {result: 'a['}]}", "rules.1: result: path 'a['"},
        Row{"output: {format: jsonl, rules: [{result: a, when: {b: ~}}]}",
            "rules.0: when: b is compared with"},
        Row{"stdin: '{prompt'", "agents.a.stdin: '{' without"},
        Row{"stdin: [x]", "agents.a.stdin: expected"}}) {
    const std::string error = error_of(agent(row.text));
    CAPTURE(error);
    CHECK_MESSAGE(error.find(row.words) != std::string::npos, row.text);
    CHECK(error.starts_with("f:2:"));
  }
}

TEST_CASE("output rules and stdin are for exec agents") {
  CHECK(error_of("agents: {a: {command: [x], output: none}}").find("for exec agents alone") !=
        std::string::npos);
  CHECK(error_of("agents: {a: {protocol: mcp, command: [x], stdin: ''}}").find("for exec agents alone") !=
        std::string::npos);
}

TEST_CASE("stdin is the payload, or a text with fields of it") {
  CHECK(only(config_of(agent("grace: 1s"))).input == "payload");
  CHECK(only(config_of(agent("stdin: '{prompt}'"))).input == "{prompt}");
  CHECK(only(config_of(agent("stdin: ''"))).input.empty());
}

}  // namespace kurultai::output_setting_test
