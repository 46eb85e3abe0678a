#include "protocol/output_rules.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

namespace kurultai::output_rules_test {
using nlohmann::json;
using Says = OutputRule::Says;

namespace {

OutputRules rules_of(const char* text) {
  OutputRules rules;
  for (const json& one : json::parse(text)) {
    auto rule = read_output_rule(one);
    REQUIRE_MESSAGE(rule.has_value(), one.dump());
    CHECK(to_json(*rule) == one);
    rules.push_back(*std::move(rule));
  }
  return rules;
}

std::string refusal(const char* text) {
  const auto rule = read_output_rule(json::parse(text));
  return rule ? "none" : rule.error().message;
}

}  // namespace

TEST_CASE("the first rule that holds and finds something says what a line is") {
  const auto rules = rules_of(R"([
    {"when": {"type": "result", "failed": true}, "error": ["why", "code"]},
    {"when": {"type": "result"}, "result": "value"},
    {"when": {"item.kind": ["shell", 7, false]}, "progress": ["item.name", "item.parts[*].text"]},
    {"when": {"type": "parts"}, "result": "parts[*].text"},
    {"when": {"type": "pieces"}, "result": "parts[*].text", "join": true}])");
  struct Row {
    const char* line;
    Says says;
    const char* text;
    bool is_text = true;
  };
  for (const Row& row :
       {Row{R"({"type":"result","failed":true,"why":"no money","code":402})", Says::error, "no money 402"},
        {R"({"type":"result","value":"done"})", Says::result, "done"},
        {R"({"type":"result","value":""})", Says::result, ""},
        {R"({"type":"result","failed":true,"value":"done"})", Says::result, "done"},  // no reason is there
        {R"({"type":"result","failed":"true","why":"a text","value":5})", Says::result, "5", false},
        {R"({"type":"result","value":{"b":[1,"x"],"a":true}})", Says::result, R"({"a":true,"b":[1,"x"]})",
         false},
        {R"({"item":{"kind":"shell","name":"ls"}})", Says::progress, "ls"},
        {R"({"item":{"kind":7,"name":"ls","parts":[{"text":"-l"},{},{"text":""},{"text":"x"}]}})",
         Says::progress, "ls -l x"},
        {R"({"item":{"kind":false,"name":{"a":1}}})", Says::progress, R"({"a":1})"},
        {R"({"type":"parts","parts":[{"text":"a"}]})", Says::result, "a"},
        {R"({"type":"parts","parts":[{"text":"a"},{"text":"b"}]})", Says::result, R"(["a","b"])", false},
        {R"({"type":"pieces","parts":[{"text":"a"},{"text":"b"}]})", Says::result, "ab"},
        {R"({"type":"other","type":"result","value":"of two keys the last"})", Says::result,
         "of two keys the last"}}) {
    CAPTURE(row.line);
    const OutputLine read = read_output_line(rules, row.line);
    CHECK(read.is_object);
    REQUIRE(read.word);
    CHECK(read.word->says == row.says);
    CHECK(read.word->text == row.text);
    CHECK(read.word->is_text == row.is_text);
  }
  for (const char* line : {R"({"type":"other"})", R"({"type":"result"})", R"({"type":"result","value":null})",
                           R"({"item":{"kind":"7","name":"a text is no number"}})",
                           R"({"item":{"kind":"shell"}})", R"({"item":{"kind":"shell","name":""}})", "{}"}) {
    CHECK_MESSAGE(!read_output_line(rules, line).word, line);
    CHECK_MESSAGE(read_output_line(rules, line).is_object, line);
  }
}

TEST_CASE("what is no JSON object is no word") {
  const auto rules = rules_of(R"([{"result": "$"}])");
  for (const std::string& line :
       {std::string(), std::string("text"), std::string("[1]"), std::string("5"), std::string("{"),
        std::string(R"({"a":1} x)"), std::string("{\"a\":\"\xff\"}"), std::string(R"({"a":1e999})"),
        R"({"a":)" + std::string(100, '[') + std::string(100, ']') + "}"}) {
    CHECK_MESSAGE(!read_output_line(rules, line).is_object, line);
  }
  CHECK(read_output_line(rules, R"({"a": 1})").word->text == R"({"a":1})");
}

TEST_CASE("a rule that is none is refused with what is wrong") {
  struct Row {
    const char *rule, *words;
  };
  for (const Row& row : {Row{"[]", "expected a rule"},
                         {"{}", "one of progress, result and error"},
                         {R"({"when":{"a":1}})", "one of progress, result and error"},
                         {R"({"result":"a","error":"b"})", "only one of"},
                         {R"({"result":["a","b"]})", "result: expected one path"},
                         {R"({"result":5})", "result: expected a path"},
                         {R"({"error":[]})", "error: expected 1 to 8 paths"},
                         {R"({"progress":["a","b","c","d","e","f","g","h","i"]})", "1 to 8 paths"},
                         {R"({"result":"a[","x":1})", "result: path 'a['"},
                         {R"({"reslut":"a"})", "unknown key 'reslut'"},
                         {R"({"when":"a","result":"a"})", "when: expected conditions"},
                         {R"({"when":{"a":{}},"result":"a"})", "when: a is compared with"},
                         {R"({"when":{"a":null},"result":"a"})", "when: a is compared with"},
                         {R"({"when":{"a":[]},"result":"a"})", "when: a needs 1 to 16 values"},
                         {R"({"when":{"a b":1},"result":"a"})", "when: path 'a b'"},
                         {R"({"progress":"a","join":true})", "join: only a result"},
                         {R"({"result":"a","join":1})", "join: expected true or false"}}) {
    CAPTURE(row.rule);
    CAPTURE(refusal(row.rule));
    CHECK(refusal(row.rule).find(row.words) != std::string::npos);
  }
  json rule = {{"result", "a"}, {"when", json::object()}};
  for (std::size_t i = 0; i <= OutputRule::most_conditions; ++i) rule["when"]["a" + std::to_string(i)] = 1;
  CHECK(!read_output_rule(rule));
  rule["when"].erase("a0");
  CHECK(read_output_rule(rule));
}

}  // namespace kurultai::output_rules_test
