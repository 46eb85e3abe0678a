#include "protocol/agent_answer.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "protocol/output_order.h"

namespace kurultai::agent_answer_test {
using nlohmann::json;
using Says = OutputRule::Says;

namespace {

OutputRules rules_of(const json& list) {
  OutputRules rules;
  for (const json& one : list) rules.push_back(read_output_rule(one).value());
  return rules;
}

const json simple = json::parse(R"([{"result": "answer"}, {"error": "error"}, {"progress": "doing"},
                                    {"when": {"type": "delta"}, "result": "text", "join": true}])");

/// What stands at the end: `result: …`, `error: …` or nothing.
std::string end_of(std::initializer_list<const char*> lines, Bytes longest = mebibytes(1)) {
  AgentAnswer answer(rules_of(simple), longest);
  for (const char* line : lines) answer.take(line);
  if (!answer.last()) return "";
  return (answer.last()->says == Says::result ? "result: " : "error: ") + answer.last()->text;
}

}  // namespace

TEST_CASE("what was said last counts") {
  CHECK(end_of({}).empty());
  CHECK(end_of({R"({"doing":"x"})", "text", R"({"other":1})"}).empty());
  CHECK(end_of({R"({"answer":"1"})"}) == "result: 1");
  CHECK(end_of({R"({"answer":"1"})", R"({"answer":"2"})", R"({"doing":"x"})"}) == "result: 2");
  CHECK(end_of({R"({"error":"retrying"})", R"({"answer":"1"})"}) == "result: 1");
  CHECK(end_of({R"({"answer":"1"})", R"({"error":"lost"})"}) == "error: lost");
}

TEST_CASE("pieces of an answer that follow one another are one text") {
  const char *a = R"({"type":"delta","text":"a"})", *b = R"({"type":"delta","text":"b"})";
  CHECK(end_of({a, b}) == "result: ab");
  CHECK(end_of({a, "a line of log", b}) == "result: ab");
  CHECK(end_of({a, b, R"({"other":1})"}) == "result: ab");
  CHECK(end_of({a, R"({"other":1})", b}) == "result: b");
  CHECK(end_of({a, R"({"doing":"x"})", b}) == "result: b");
  CHECK(end_of({a, R"({"answer":"1"})", b, a}) == "result: ba");
  CHECK(end_of({a, R"({"error":"e"})", b}) == "result: b");
}

TEST_CASE("an answer of too many pieces is an error, and stays one") {
  const char* piece = R"({"type":"delta","text":"12345"})";
  CHECK(end_of({piece, piece}, {10}) == "result: 1234512345");
  CHECK(end_of({piece, piece, piece}, {10}) == "error: the answer is longer than 10B");
  CHECK(end_of({piece, piece, piece, piece}, {10}) == "error: the answer is longer than 10B");
}

TEST_CASE("a line is progress, log, or kept") {
  AgentAnswer answer(rules_of(simple), mebibytes(1));
  CHECK(answer.take(R"({"doing":"x"})").progress == "x");
  CHECK(!answer.take(R"({"doing":"x"})").is_log);
  CHECK(!answer.take(R"({"answer":"x"})").is_log);
  for (const char* line : {"", "text", "{", R"({"other":1})"}) CHECK(answer.take(line).is_log);
}

TEST_CASE("an order for the host comes back as it was sent") {
  const OutputOrder order{.max_line = kibibytes(64), .rules = rules_of(simple)};
  CHECK(read_output_order(to_text(order)).value() == order);
  const OutputOrder log{.is_log = true};
  CHECK(read_output_order(to_text(log)).value() == log);
  for (const char* text : {"", "5", "{}", R"({"format":"xml"})", R"({"format":"jsonl"})",
                           R"({"format":"jsonl","maxLine":-1,"rules":[]})",
                           R"({"format":"jsonl","maxLine":18446744073709551615,"rules":[]})",
                           R"({"format":"jsonl","maxLine":5,"rules":[{}]})"}) {
    CHECK_MESSAGE(!read_output_order(text), text);
  }
}

}  // namespace kurultai::agent_answer_test
