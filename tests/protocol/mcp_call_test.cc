#include "protocol/mcp_call.h"

#include <doctest/doctest.h>

#include <string>

namespace kurultai::mcp_call_test {

TEST_CASE("a call names a tool, a resource or a prompt") {
  using Kind = McpCall::Kind;
  CHECK(*read_mcp_call(R"({"tool":"add","arguments":{"a":1}})") == McpCall{Kind::tool, "add", R"({"a":1})"});
  CHECK(*read_mcp_call(R"({"tool":"now"})") == McpCall{Kind::tool, "now", ""});
  CHECK(*read_mcp_call(R"({"tool":"now","arguments":null})") == McpCall{Kind::tool, "now", ""});
  CHECK(*read_mcp_call(R"({"prompt":"hi","arguments":{}})") == McpCall{Kind::prompt, "hi", "{}"});
  CHECK(*read_mcp_call(R"({"resource":"file:///x"})") == McpCall{Kind::resource, "file:///x", ""});
}

TEST_CASE("what is no call is refused, and says how one looks") {
  for (const char* payload : {"", "null", "5", "\"echo\"", "[]", "{}", R"({"arguments":{}})"}) {
    CAPTURE(payload);
    const auto call = read_mcp_call(payload);
    REQUIRE_FALSE(call.has_value());
    CHECK(call.error().message.find(R"({"tool": NAME, "arguments": {…}})") != std::string::npos);
  }
  CHECK(read_mcp_call(R"({"tool":"x","args":{}})")
            .error()
            .message.starts_with("the payload has the field 'args'"));
  CHECK(read_mcp_call(R"({"tool":"x","prompt":"y"})").error().message ==
        "the payload has two of 'tool', 'resource', 'prompt' and 'method'");
  for (const char* payload : {R"({"tool":5})", R"({"tool":""})", R"({"tool":null})"}) {
    CAPTURE(payload);
    CHECK(read_mcp_call(payload).error().message == "'tool' must be a text");
  }
  CHECK(read_mcp_call(R"({"tool":"x","arguments":[1]})").error().message == "'arguments' must be an object");
  CHECK(read_mcp_call(R"({"resource":"x","arguments":{}})").error().message ==
        "a resource has no 'arguments'");
  CHECK(read_mcp_call(R"({"tool":"x","params":{}})").error().message == "a tool has no 'params'");
  CHECK_FALSE(read_mcp_call("{\"tool\":").has_value());
}

TEST_CASE(
    "what a server offers is asked by the names of its methods, and none that would change it for others") {
  using Kind = McpCall::Kind;
  CHECK(*read_mcp_call(R"({"method":"tools/list"})") == McpCall{Kind::method, "tools/list", ""});
  CHECK(*read_mcp_call(R"({"method":"prompts/list","params":{"cursor":"2"}})") ==
        McpCall{Kind::method, "prompts/list", R"({"cursor":"2"})"});
  CHECK(read_mcp_call(R"({"method":"logging/setLevel"})").error().message ==
        "'method' must be one of initialize, tools/list, resources/list, resources/templates/list, "
        "prompts/list, "
        "completion/complete");
  CHECK(read_mcp_call(R"({"method":"tools/list","arguments":{}})").error().message ==
        "a method has no 'arguments'");
  CHECK(read_mcp_call(R"({"method":"tools/list","params":[]})").error().message ==
        "'params' must be an object");
}

}  // namespace kurultai::mcp_call_test
