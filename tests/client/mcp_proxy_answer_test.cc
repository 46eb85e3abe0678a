#include "tools/kurultai/mcp/proxy_answer.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tools/kurultai/mcp/server_facts.h"

namespace kurultai::mcp_proxy_answer_test {
using nlohmann::json;

namespace {

template <typename T>
T as(const json& task) {
  const auto answer = read_proxy_answer(task);
  REQUIRE(std::holds_alternative<T>(answer));
  return std::get<T>(answer);
}

json failed(const char* reason, const json& result = nullptr) {
  return {{"taskId", "t"},
          {"state", "failed"},
          {"result", result},
          {"error", {{"reason", reason}, {"message", "m"}}}};
}

}  // namespace

TEST_CASE("every request that a task can do is one, without what belongs to the conversation") {
  const json named = {{"name", "x"}, {"arguments", {{"a", 1}}}, {"_meta", {{"progressToken", 1}}}};
  CHECK(proxy_payload("tools/call", named) == R"({"arguments":{"a":1},"tool":"x"})");
  CHECK(proxy_payload("tools/call", {{"name", "x"}}) == R"({"tool":"x"})");
  CHECK(proxy_payload("prompts/get", named) == R"({"arguments":{"a":1},"prompt":"x"})");
  CHECK(proxy_payload("resources/read", {{"uri", "u"}}) == R"({"resource":"u"})");
  CHECK(proxy_payload("tools/list", nullptr) == R"({"method":"tools/list"})");
  CHECK(proxy_payload("tools/list", {{"cursor", "c"}, {"_meta", 1}}) ==
        R"({"method":"tools/list","params":{"cursor":"c"}})");
  for (const char* method : {"logging/setLevel", "resources/subscribe", "no/such", ""})
    CHECK_FALSE(proxy_payload(method, nullptr));
  CHECK_FALSE(proxy_payload("tools/call", nullptr));
  CHECK_FALSE(proxy_payload("tools/call", {{"name", "x"}, {"arguments", json::array()}}));
}

TEST_CASE("what the server said is what the client gets") {
  CHECK(as<ServerResult>({{"state", "completed"}, {"result", {{"content", json::array()}}}}).text ==
        R"({"content":[]})");
  CHECK(as<ServerResult>({{"state", "completed"}, {"result", nullptr}}).text == "{}");
  const json tool_failure = {{"content", json::array()}, {"isError", true}};
  CHECK(as<ServerResult>(failed("agent_error", tool_failure)).text == tool_failure.dump());
  CHECK(as<ServerError>(failed("agent_error", {{"error", {{"code", -32602}, {"message", "m"}}}})).text ==
        R"({"code":-32602,"message":"m"})");
  as<LongResult>({{"state", "completed"}, {"resultBytes", 100000}});
  json task = failed("agent_error");
  task["resultBytes"] = 100000;
  as<LongResult>(task);
}

TEST_CASE("a task without the server's answer says why") {
  CHECK(as<NoAnswer>(failed("memory_cap")).code == "memory_cap");
  CHECK(as<NoAnswer>(failed("memory_cap")).message == "task t: m");
  CHECK(as<NoAnswer>({{"taskId", "t"}, {"state", "cancelled"}}).code == "cancelled");
}

TEST_CASE("a failure is a tool's result, which a model reads, or an error") {
  const json refusal = {{"code", "queue_full"}, {"message", "full"}, {"retryAfter", 2}};
  const auto tool = proxy_failure("tools/call", refusal);
  CHECK(tool.is_result);
  CHECK(json::parse(tool.text)["isError"] == true);
  const auto other = proxy_failure("tools/list", refusal);
  CHECK_FALSE(other.is_result);
  CHECK(json::parse(other.text) == json{{"code", -32603}, {"message", "full"}, {"data", refusal}});
}

TEST_CASE("an agent says what its server said, without what tasks do not carry") {
  const json said = {{"capabilities", {{"tools", {{"listChanged", true}}}, {"logging", json::object()}}},
                     {"serverInfo", {{"name", "n"}, {"version", "2"}}},
                     {"instructions", "do"}};
  CHECK(json::parse(agent_facts({{"protocolVersion", "2024-11-05"}}, said)) ==
        json{{"protocolVersion", "2024-11-05"},
             {"capabilities", {{"tools", json::object()}}},
             {"serverInfo", {{"name", "n"}, {"version", "2"}}},
             {"instructions", "do"}});
}

}  // namespace kurultai::mcp_proxy_answer_test
