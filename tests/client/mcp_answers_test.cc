#include "tools/kurultai/mcp/answers.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tools/kurultai/mcp/resources.h"
#include "tools/kurultai/mcp/tool_definitions.h"

namespace kurultai::mcp_answers_test {
using nlohmann::json;

TEST_CASE("a task is told without what has no value, and its result where it is short") {
  const json task = {
      {"taskId", "t"},
      {"state", "failed"},
      {"startedAt", nullptr},
      {"result", {{"a", 1}}},
      {"history", json::array()},
      {"error",
       {{"reason", "exit_code"}, {"message", "exit status 3"}, {"exitCode", 3}, {"signal", nullptr}}}};
  CHECK(task_answer(task) ==
        json{{"taskId", "t"},
             {"state", "failed"},
             {"finished", true},
             {"result", {{"a", 1}}},
             {"error", {{"reason", "exit_code"}, {"message", "exit status 3"}, {"exitCode", 3}}}});
  CHECK_FALSE(task_answer({{"state", "queued"}})["finished"].get<bool>());
}

TEST_CASE("a result above the limit is named by its size, as read_result counts it") {
  const std::string text(longest_inline_result, 'x');
  CHECK(task_answer({{"result", text}})["result"] == text);
  CHECK(task_answer({{"result", text + "y"}})["resultBytes"] == text.size() + 1);
  CHECK_FALSE(task_answer({{"result", text + "y"}}).contains("result"));
  CHECK(task_answer({{"result", json::array({text})}})["resultBytes"] == text.size() + 4);
  CHECK(task_answer({{"result", nullptr}, {"resultBytes", 7}})["resultBytes"] == 7);
  CHECK_FALSE(
      task_list_answer({{"tasks", {{{"result", 1}}}}, {"next", nullptr}})["tasks"][0].contains("result"));
}

TEST_CASE("a part of a result ends between characters, and says where the next begins") {
  CHECK(result_part("t", 5, "abc", 10) ==
        json{{"taskId", "t"}, {"offset", 5}, {"bytes", 3}, {"text", "abc"}});
  CHECK(result_part("t", 5, "abc", 3)["nextOffset"] == 8);
  const json cut = result_part("t", 0, "ab\xc3", 3);
  CHECK(cut["text"] == "ab");
  CHECK(cut["nextOffset"] == 2);
  CHECK(result_part("t", 0, "\xff\xfe\xfd\xfc\xfb", 5)["base64"] == "//79/Ps=");
  CHECK(result_part("t", 0, "\xf0\x9f\x98\x80", 4)["text"] == "\xf0\x9f\x98\x80");
  CHECK(result_part("t", 0, "\xc3", 1)["base64"] == "ww==");  // one byte is asked for, and it is no character
  CHECK(result_part("t", 9, "", 4) == json{{"taskId", "t"}, {"offset", 9}, {"bytes", 0}, {"text", ""}});
}

TEST_CASE("the end of a log begins with a whole character") {
  CHECK(log_answer("t", "abc", 3) == json{{"taskId", "t"}, {"text", "abc"}, {"leftOutBytes", 0}});
  CHECK(log_answer("t",
                   "a\xc3\xa4"
                   "b",
                   2) == json{{"taskId", "t"}, {"text", "b"}, {"leftOutBytes", 3}});
}

TEST_CASE("headroom is told up to the thresholds, and never below nothing") {
  const json memory = {
      {"budgetBytes", 1000}, {"usedBytes", 870}, {"thresholds", {{"preempt", 0.85}, {"reject", 0.9}}}};
  const json room = headroom_answer(memory);
  CHECK(room["freeBytes"] == 130);
  CHECK(room["untilPreemptBytes"] == 0);
  CHECK(room["untilRejectBytes"] == 30);
}

TEST_CASE("an answer is there twice, unless it is too long") {
  const json result = json::parse(tool_result({{"a", "\"x\""}}));
  CHECK(result["structuredContent"] == json{{"a", "\"x\""}});
  CHECK(json::parse(result["content"][0]["text"].get<std::string>()) == result["structuredContent"]);
  const json refused = json::parse(tool_result({{"a", std::string(longest_answer, 'x')}}));
  CHECK(refused["isError"] == true);
  CHECK(refused["content"][0]["text"].get<std::string>().find("too_long") != std::string::npos);
}

TEST_CASE("a refusal is the supervisor's own, or why there is none") {
  const Answer<Response> full =
      Response{429, R"({"error":{"code":"queue_full","message":"full","retryAfter":3}})"};
  CHECK(refusal_object(full) == json{{"code", "queue_full"}, {"message", "full"}, {"retryAfter", 3}});
  CHECK(refusal_object(Response{502, "<html>"})["code"] == "no_supervisor");
  const Answer<Response> nobody = complaint(ExitStatus::no_supervisor, "no supervisor at /x");
  CHECK(refusal_object(nobody) == json{{"code", "no_supervisor"}, {"message", "no supervisor at /x"}});
}

TEST_CASE("arguments are checked by the schema that is told") {
  const json& schema = (*find_tool("submit_task"))["inputSchema"];
  CHECK_FALSE(
      check_arguments(schema, {{"agent", "a"}, {"payload", nullptr}, {"priority", "low"}, {"retries", 0}}));
  CHECK(check_arguments(schema, json::object()) == "'agent' is missing");
  CHECK(check_arguments(schema, {{"agent", 1}}) == "'agent' must be a string");
  CHECK(check_arguments(schema, {{"agent", "a"}, {"retries", 1.5}}) == "'retries' must be an integer");
  CHECK(check_arguments(schema, {{"agent", "a"}, {"retries", 1001}}) ==
        "'retries' must be at least 0 and at most 1000");
  CHECK(check_arguments(schema, {{"agent", "a"}, {"retries", -1}}) ==
        "'retries' must be at least 0 and at most 1000");
  CHECK(check_arguments(schema, {{"agent", "a"}, {"script", "x"}}) == "there is no argument 'script'");
  CHECK(check_arguments(schema, {{"agent", "a"}, {"priority", "urgent"}})
            ->starts_with("'priority' must be one of"));
  const json& offset = (*find_tool("read_result"))["inputSchema"];
  CHECK(check_arguments(offset, {{"taskId", "t"}, {"offset", -1}}) == "'offset' must be at least 0");
  CHECK(find_tool("nothing") == nullptr);
}

TEST_CASE("resources have a place each, and nothing else has one") {
  CHECK(find_resource("kurultai://memory")->path == "/v1/memory");
  CHECK(find_resource("kurultai://tasks")->is_task_list);
  CHECK(find_resource("kurultai://tasks/1m7y8zgzkp3fkf4h")->path == "/v1/tasks/1m7y8zgzkp3fkf4h");
  CHECK(find_resource("kurultai://tasks/abc/result")->type.empty());
  for (const char* uri :
       {"", "memory", "kurultai://", "kurultai://tasks/", "kurultai://tasks/a/b", "kurultai://tasks/..",
        "kurultai://tasks/a%2Fb", "kurultai://tasks/a/logs/", "kurultai://memory?x", "http://memory"}) {
    CAPTURE(uri);
    CHECK_FALSE(find_resource(uri));
  }
  const json result = json::parse(resource_result("u", {"", "", false}, "\xff"));
  CHECK(result["contents"][0] ==
        json{{"uri", "u"}, {"blob", "/w=="}, {"mimeType", "application/octet-stream"}});
}

}  // namespace kurultai::mcp_answers_test
