#include "tools/kurultai/mcp/message.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

namespace kurultai::mcp_message_test {
using nlohmann::json;

namespace {

template <typename T>
T as(const json& message) {
  const auto read = read_client_message(message);
  REQUIRE(std::holds_alternative<T>(read));
  return std::get<T>(read);
}

}  // namespace

TEST_CASE("a request is told from a notification by its id, which is kept as it came") {
  const json request = {{"jsonrpc", "2.0"}, {"id", "a\"b"}, {"method", "m"}, {"params", {{"x", 1}}}};
  const auto read = as<ClientRequest>(request);
  CHECK(read.id == R"("a\"b")");
  CHECK(read.method == "m");
  CHECK(read.params == json{{"x", 1}});
  CHECK(as<ClientRequest>({{"jsonrpc", "2.0"}, {"id", -1.5}, {"method", "m"}}).id == "-1.5");
  CHECK(as<ClientNotification>({{"jsonrpc", "2.0"}, {"method", "n"}}).method == "n");
  as<ClientAnswer>({{"jsonrpc", "2.0"}, {"id", 1}, {"result", nullptr}});
}

TEST_CASE("what is none of them is answered with a code, and with the id where one can be told") {
  struct {
    json message;
    const char* id;
    int code;
  } const rows[] = {
      {json::array(), "null", -32600},
      {5, "null", -32600},
      {json::object(), "null", -32600},
      {{{"id", 1}, {"method", "m"}}, "1", -32600},
      {{{"jsonrpc", "1.0"}, {"id", 1}, {"method", "m"}}, "1", -32600},
      {{{"jsonrpc", "2.0"}, {"id", 1}}, "1", -32600},
      {{{"jsonrpc", "2.0"}, {"id", 1}, {"method", 5}}, "1", -32600},
      {{{"jsonrpc", "2.0"}, {"id", nullptr}, {"method", "m"}}, "null", -32600},
      {{{"jsonrpc", "2.0"}, {"id", json::array()}, {"method", "m"}}, "null", -32600},
      {{{"jsonrpc", "2.0"}, {"id", std::string(2000, 'x')}, {"method", "m"}}, "null", -32600},
      {{{"jsonrpc", "2.0"}, {"id", 1}, {"method", "m"}, {"params", "p"}}, "1", -32602},
  };
  for (const auto& row : rows) {
    CAPTURE(row.message.dump());
    const auto bad = as<BadMessage>(row.message);
    CHECK(bad.id == row.id);
    CHECK(bad.code == row.code);
    CHECK_FALSE(bad.why.empty());
  }
}

TEST_CASE("a progress token is a text or a number") {
  CHECK(progress_token({{"_meta", {{"progressToken", "t"}}}}) == R"("t")");
  CHECK(progress_token({{"_meta", {{"progressToken", 0}}}}) == "0");
  CHECK(progress_token({{"_meta", {{"progressToken", nullptr}}}}).empty());
  CHECK(progress_token({{"_meta", {{"progressToken", std::string(2000, 'x')}}}}).empty());
  CHECK(progress_token({{"_meta", 5}}).empty());
  CHECK(progress_token(nullptr).empty());
}

TEST_CASE("a version that is known is spoken, else the newest") {
  CHECK(negotiate_version("2024-11-05") == "2024-11-05");
  CHECK(negotiate_version("2025-03-26") == "2025-03-26");
  CHECK(negotiate_version("2099-01-01") == "2025-06-18");
  CHECK(negotiate_version("") == "2025-06-18");
}

}  // namespace kurultai::mcp_message_test
