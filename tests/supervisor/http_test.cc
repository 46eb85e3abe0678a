#include "supervisor/gateway/http.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

using namespace kurultai;

namespace {

/// A connection whose client end is a plain descriptor. Every request is answered by `answer`.
struct Served {
  uv::Loop loop;
  int client = -1;
  int closed = 0;
  std::vector<HttpRequest> requests;
  std::function<void(std::shared_ptr<Exchange>)> answer = [](const std::shared_ptr<Exchange>& exchange) {
    exchange->respond(200, "text/plain", exchange->request().path + " " + exchange->request().body);
  };
  std::unique_ptr<HttpConnection> connection;

  explicit Served(HttpLimits limits = {}) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    client = ends[0];
    connection = std::make_unique<HttpConnection>(
        loop, std::move(*uv::Stream::open_pipe(loop, ends[1])), false, limits,
        [this](std::shared_ptr<Exchange> exchange) {
          requests.push_back(exchange->request());
          answer(std::move(exchange));
        },
        [this](HttpConnection&) {
          closed += 1;
          loop.stop();
        });
  }
  ~Served() {
    connection.reset();
    ::close(client);
  }

  /// Sends the bytes, ends the client's side, and gives all that the server said.
  std::string talk(std::string_view bytes) {
    REQUIRE(::write(client, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    ::shutdown(client, SHUT_WR);
    loop.run();
    connection.reset();
    uv::defer(loop, [] {});
    loop.run();
    std::string said;
    std::array<char, 65536> buffer{};
    for (ssize_t count = 0; (count = ::recv(client, buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0;) {
      said.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return said;
  }
};

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size())
    found += 1;
  return found;
}

}  // namespace

TEST_CASE("a request is read whole, decoded and answered") {
  Served served;
  const std::string said = served.talk(
      "POST /a%20b?x=1%2B1&y=+&flag HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc");
  CHECK(said.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(said.ends_with("\r\n\r\n/a b abc"));
  REQUIRE(served.requests.size() == 1);
  const HttpRequest& request = served.requests[0];
  CHECK(request.method == "POST");
  CHECK(request.query.at("x") == "1+1");
  CHECK(request.query.at("y") == " ");
  CHECK(request.parameter("flag") == "");
  CHECK_FALSE(request.parameter("z").has_value());
  CHECK(request.header("x-a") == "1, 2");
}

TEST_CASE("pipelined requests are answered in order, one at a time") {
  Served served;
  std::string requests;
  for (int i = 0; i < 50; ++i) requests += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string said = served.talk(requests);
  CHECK(count(said, "HTTP/1.1 200") == 50);
  CHECK(said.find("/7 ") < said.find("/8 "));
  CHECK(said.find("/48 ") < said.find("/49 "));
}

TEST_CASE("a chunked body is put together, and a HEAD is answered without one") {
  Served served;
  CHECK(served
            .talk("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                  "chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
            .ends_with("/ abc"));
  Served head;
  const std::string said = head.talk("HEAD /xyz HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(said.find("Content-Length: 5\r\n") != std::string::npos);
  CHECK(said.ends_with("\r\n\r\n"));
}

TEST_CASE("what is malformed or too large is refused and the connection closed") {
  HttpLimits limits;
  limits.max_body = 10;
  limits.max_header = 200;
  const std::vector<std::pair<std::string, int>> table = {
      {"nonsense\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},  // no Host
      {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n", 413},
      {"GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(300, 'x') + "\r\n\r\n", 431},
      {"GET /" + std::string(300, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n", 431},
  };
  for (const auto& [request, status] : table) {
    CAPTURE(request);
    Served served(limits);
    const std::string said = served.talk(request);
    CHECK(said.starts_with("HTTP/1.1 " + std::to_string(status)));
    CHECK(said.find("Connection: close") != std::string::npos);
    CHECK(served.requests.empty());
    CHECK(served.closed == 1);
  }
}

TEST_CASE("an answer in pieces is chunked, and one that is given up is visibly broken") {
  Served served;
  served.answer = [](const std::shared_ptr<Exchange>& exchange) {
    exchange->begin(200, "text/plain");
    exchange->write("hello ");
    exchange->write("");  // would be the end in chunked coding
    exchange->write("world");
    exchange->end();
    exchange->write("late");
    exchange->respond(500, "", "late");
  };
  CHECK(served.talk("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .ends_with("\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"));
  Served broken;
  broken.answer = [](const std::shared_ptr<Exchange>& exchange) {
    exchange->begin(200, "text/plain", {}, 100);
    exchange->write("half");
    exchange->abort();
  };
  CHECK(broken.talk("GET / HTTP/1.1\r\nHost: h\r\n\r\n").ends_with("half"));
}

TEST_CASE("a client that goes while it waits is told to whoever answers it, and a late answer is harmless") {
  Served served;
  std::shared_ptr<Exchange> held;
  int gone = 0;
  served.answer = [&](std::shared_ptr<Exchange> exchange) {
    exchange->on_gone([&] { gone += 1; });
    held = std::move(exchange);
  };
  CHECK(served.talk("GET / HTTP/1.1\r\nHost: h\r\n\r\n").empty());
  CHECK(gone == 1);
  REQUIRE(held != nullptr);
  CHECK_FALSE(held->is_open());
  held->respond(200, "text/plain", "too late");
}

TEST_CASE("a slow request is cut off with 408, an idle connection is closed without a word") {
  HttpLimits limits;
  limits.request_timeout = Duration(1);
  limits.idle_timeout = Duration(1);
  Served slow(limits);
  REQUIRE(::write(slow.client, "GET / HT", 8) == 8);
  slow.loop.run();
  CHECK(slow.closed == 1);
  Served idle(limits);
  idle.loop.run();
  CHECK(idle.closed == 1);
  CHECK(idle.requests.empty());
}

TEST_CASE("what asks for another protocol is answered as HTTP, and so is what follows") {
  for (const std::string first : {"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
                                  "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"}) {
    Served served;
    CHECK(count(served.talk(first + "GET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n"),
                "HTTP/1.1 200") == 3);
  }
}

TEST_CASE("bytes that come between an answer and the next request do not overtake what was kept") {
  Served served;
  std::shared_ptr<Exchange> first;
  served.answer = [&](std::shared_ptr<Exchange> exchange) {
    if (served.requests.size() > 1) return exchange->respond(200, "text/plain", exchange->request().path);
    first = std::move(exchange);
    served.loop.stop();
  };
  const std::string_view kept = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /se";
  REQUIRE(::write(served.client, kept.data(), kept.size()) == static_cast<ssize_t>(kept.size()));
  served.loop.run();
  REQUIRE(first != nullptr);
  // The answer and the rest of the second request meet in one turn of the loop, in this order.
  const int bell = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  std::unique_ptr<uv::FdWatch> ringing = *uv::FdWatch::start(served.loop, bell, [&] {
    first->respond(200, "text/plain", "");
    ringing.reset();
  });
  CHECK(served.talk("cond HTTP/1.1\r\nHost: h\r\n\r\n").ends_with("/second"));
  ::close(bell);
  REQUIRE(served.requests.size() == 2);
  CHECK(served.requests[1].path == "/second");
}

TEST_CASE("the body of a request that may not send one is dropped") {
  HttpLimits limits;
  limits.max_body = 10;
  limits.may_send_body = [](const HttpRequest& request) { return request.header("x") == "1"; };
  Served served(limits);
  served.talk(
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
      "POST / HTTP/1.1\r\nHost: h\r\nX: 1\r\nContent-Length: 3\r\n\r\nabc");
  REQUIRE(served.requests.size() == 2);
  CHECK(served.requests[0].body.empty());
  CHECK(served.requests[1].body == "abc");
}
