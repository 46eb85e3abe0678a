#include "tools/kurultai/http.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tools/kurultai/follow.h"
#include "tools/kurultai/supervisor.h"

namespace kurultai::http_test {

namespace {

std::string answer(const std::string& status, const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + headers + "\r\n" + body;
}

/// Gives one connection after the other its canned answer, whatever it asks, and keeps what was asked.
class CannedServer {
 public:
  explicit CannedServer(std::vector<std::string> answers) : answers_(std::move(answers)) {
    char name[] = "/tmp/kurultai-http-test-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    directory_ = name;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path().c_str());
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(listen(fd_, 8) == 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~CannedServer() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
    unlink(path().c_str());
    rmdir(directory_.c_str());
  }
  std::string path() const { return directory_ + "/s"; }
  Endpoint endpoint() const { return {path(), "http://localhost", "", {path()}}; }
  /// After the last answer was given.
  const std::vector<std::string>& asked() const { return asked_; }

 private:
  void serve() {
    for (const auto& text : answers_) {
      const int client = accept(fd_, nullptr, nullptr);
      if (client < 0) return;
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const auto got = read(client, buffer, sizeof buffer);
        if (got <= 0) break;
        request.append(buffer, static_cast<std::size_t>(got));
      }
      asked_.push_back(request);
      [[maybe_unused]] const auto sent = send(client, text.data(), text.size(), MSG_NOSIGNAL);
      shutdown(client, SHUT_WR);
      while (read(client, buffer, sizeof buffer) > 0) {
      }
      close(client);
    }
  }

  std::vector<std::string> answers_, asked_;
  std::string directory_;
  int fd_ = -1;
  std::thread thread_;
};

}  // namespace

TEST_CASE("an answer comes back with its status and body") {
  CannedServer server({answer("200 OK", "{\"a\":1}"), answer("202 Accepted", "x")});
  Http http(server.endpoint());
  const auto got = http.request({"GET", "/v1/memory", "", "", std::chrono::seconds(10)});
  REQUIRE(got);
  CHECK(got->status == 200);
  CHECK(got->body == "{\"a\":1}");
  CHECK(post(http, "/v1/tasks", "{}") == "x");
  CHECK(server.asked()[0].starts_with("GET /v1/memory HTTP/1.1\r\n"));
  CHECK(server.asked()[1].find("Content-Type: application/json\r\n") != std::string::npos);
}

TEST_CASE("the token goes with every request") {
  CannedServer server({answer("200 OK", "{}")});
  auto endpoint = server.endpoint();
  endpoint.token = "secret";
  Http http(endpoint);
  CHECK(get(http, "/v1/queue"));
  CHECK(server.asked()[0].find("Authorization: Bearer secret\r\n") != std::string::npos);
}

TEST_CASE("a body goes to the sink only when the answer is good") {
  CannedServer server(
      {answer("200 OK", "result"),
       answer("404 Not Found", R"json({"error":{"code":"not_found","message":"no task 'x'"}})json")});
  Http http(server.endpoint());
  std::string taken;
  const auto sink = [&](std::string_view bytes) { return taken += bytes, true; };
  CHECK(body_of(http.request({}, sink)));
  CHECK(taken == "result");
  const auto refused = body_of(http.request({}, sink));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().status == ExitStatus::no_such_thing);
  CHECK(taken == "result");
}

TEST_CASE("a sink that has enough ends the request without an error") {
  CannedServer server({answer("200 OK", std::string(100'000, 'x'))});
  Http http(server.endpoint());
  const auto got = http.request({}, [](std::string_view) { return false; });
  REQUIRE(got);
  CHECK(got->status == 200);
}

TEST_CASE("whatever is no answer of a supervisor ends with status 6") {
  const std::string whole = answer("200 OK", "0123456789");
  CannedServer server({"", "hello\r\n", whole.substr(0, whole.size() - 5), answer("200 OK", "not json")});
  Http http(server.endpoint());
  for (int i = 0; i < 4; ++i) {
    const auto got = get_json(http, "/health");
    REQUIRE_FALSE(got);
    CHECK(got.error().status == ExitStatus::no_supervisor);
    CHECK_FALSE(got.error().text.empty());
  }
}

TEST_CASE("a socket that is not there is named, with what to do") {
  Http http({"/nowhere/s", "http://localhost", "", {"/nowhere/s", "/else/s"}});
  const auto got = get(http, "/health");
  REQUIRE_FALSE(got);
  CHECK(got.error().status == ExitStatus::no_supervisor);
  CHECK(got.error().text.starts_with("no supervisor at /nowhere/s or /else/s; start one with"));
}

TEST_CASE("an answer that does not come in time ends with status 6") {
  CannedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"});
  Http http(server.endpoint());
  const auto got = http.request({"GET", "/", "", "", Duration(1)});
  REQUIRE_FALSE(got);
  CHECK(got.error().status == ExitStatus::no_supervisor);
}

TEST_CASE("several requests run at once, and one that is cancelled says nothing") {
  CannedServer server({answer("200 OK", "a"), answer("200 OK", "b")});
  Http http(server.endpoint());
  int ended = 0;
  const auto count = [&](const Answer<Response>&) { ++ended; };
  const auto first = http.start({}, count);
  http.start({}, count);
  http.cancel(first);
  http.cancel(first);
  for (int i = 0; i < 100 && ended == 0; ++i) http.turn({}, Duration(100));
  CHECK(ended == 1);
}

TEST_CASE("a task is followed until it has ended, and a refusal ends the following") {
  const std::string refused =
      answer("404 Not Found", R"json({"error":{"code":"not_found","message":"gone"}})json");
  CannedServer server({refused, refused});  // its events, and the task itself
  Http http(server.endpoint());
  const auto finished = follow_task(http, "t1", {});
  REQUIRE_FALSE(finished);
  CHECK(finished.error().status == ExitStatus::no_such_thing);
}

}  // namespace kurultai::http_test
