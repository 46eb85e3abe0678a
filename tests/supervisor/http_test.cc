#include "supervisor/gateway/http.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace kurultai::http_test {

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
    return said();
  }

  /// What the server has said and nobody has read yet.
  std::string said() const {
    std::string all;
    std::array<char, 65536> buffer{};
    for (ssize_t count = 0; (count = ::recv(client, buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0;) {
      all.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return all;
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
      {"GET / HTTP/1.1\r\nHost: h\r\nExpect: a miracle\r\n\r\n", 417},
      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
      {"GET /\r\n\r\n", 505},
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

// Each of these is one request to some readers, and two or another one to others.
TEST_CASE("what two readers could take for different requests is refused") {
  const std::string get = "GET / HTTP/1.1\r\n";
  const std::string host = "Host: h\r\n";
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\n";
  const std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
  using namespace std::string_literals;
  const std::vector<std::pair<std::string, std::string>> table = {
      {"LF after the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n"},
      {"LF after a header", get + "Host: h\nX: y\r\n\r\n"},
      {"LF at the end of the header", get + host + "\n"},
      {"LF twice", get + "Host: h\n\n"},
      {"LF before the request line", "\n" + get + host + "\r\n"},
      {"CR in a header", get + host + "X: a\rY: b\r\n\r\n"},
      {"CR CR LF", get + host + "X: a\r\r\n\r\n"},
      {"CR in the request line", "GET /\r HTTP/1.1\r\n" + host + "\r\n"},
      {"CR before a coding", post + "X: \rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"a folded header", get + host + "X: a\r\n b\r\n\r\n"},
      {"a folded header with a tab", get + host + "X: a\r\n\tb\r\n\r\n"},
      {"a folded empty header", get + host + "X:\r\n b\r\n\r\n"},
      {"a folded coding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
      {"a blank before the first header", get + " X: y\r\n" + host + "\r\n"},
      {"a blank before the colon", get + host + "X : y\r\n\r\n"},
      {"a tab before the colon", get + host + "X\t: y\r\n\r\n"},
      {"no name", get + host + ": y\r\n\r\n"},
      {"no colon", get + host + "X\r\n\r\n"},
      {"a name that is no token", get + host + "X(y): z\r\n\r\n"},
      {"a name that is not ASCII", get + host + "X\xe4: z\r\n\r\n"},
      {"NUL in a value", get + host + "X: a\0b\r\n\r\n"s},
      {"NUL in a name", get + host + "X\0Y: b\r\n\r\n"s},
      {"a control character in a value", get + host + "X: a\x01\r\n\r\n"},
      {"DEL in a value", get + host + "X: a\x7f\r\n\r\n"},
      {"two blanks before the target", "GET  / HTTP/1.1\r\n" + host + "\r\n"},
      {"two blanks after the target", "GET /  HTTP/1.1\r\n" + host + "\r\n"},
      {"a tab before the target", "GET\t/ HTTP/1.1\r\n" + host + "\r\n"},
      {"a blank behind the version", "GET / HTTP/1.1 \r\n" + host + "\r\n"},
      {"a blank before the method", " GET / HTTP/1.1\r\n" + host + "\r\n"},
      {"two Hosts", get + host + host + "\r\n"},
      {"two Hosts, one empty", get + "Host:\r\n" + host + "\r\n"},
      {"no Host", get + "\r\n"},
      {"an empty Host", get + "Host:\r\n\r\n"},
      {"a list for Host", get + "Host: h, g\r\n\r\n"},
      {"a Host with a path", get + "Host: h/x\r\n\r\n"},
      {"a Host with a user", get + "Host: u@h\r\n\r\n"},
      {"a Host with a bad port", get + "Host: h:80x\r\n\r\n"},
      {"a Host with two ports", get + "Host: h:80:81\r\n\r\n"},
      {"a Host in broken brackets", get + "Host: [::1\r\n\r\n"},
      {"two lengths", post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"},
      {"the same length twice", post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"},
      {"a list of lengths", post + "Content-Length: 1, 1\r\n\r\na"},
      {"a signed length", post + "Content-Length: +1\r\n\r\na"},
      {"a negative length", post + "Content-Length: -1\r\n\r\na"},
      {"a hexadecimal length", post + "Content-Length: 0x1\r\n\r\na"},
      {"an empty length", post + "Content-Length:\r\n\r\n"},
      {"a length with a blank in it", post + "Content-Length: 1 1\r\n\r\na"},
      {"an endless length", post + "Content-Length: 99999999999999999999999\r\n\r\na"},
      {"a length, then a coding", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"a coding, then a length", post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"},
      {"an unknown coding", post + "Transfer-Encoding: gzip\r\n\r\nabc"},
      {"identity", post + "Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na"},
      {"an empty coding", post + "Transfer-Encoding:\r\n\r\n"},
      {"an unknown coding, then chunks", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
      {"chunks of chunks", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"},
      {"chunked twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"chunked, then identity",
       post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
      {"almost chunked", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
      {"chunked with a vertical tab", post + "Transfer-Encoding: \x0b"
                                             "chunked\r\n\r\n0\r\n\r\n"},
      {"chunked in quotes", post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"},
      {"chunks in HTTP/1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"a chunk without size", chunked + "\r\n\r\n"},
      {"a chunk size that is no number", chunked + "xyz\r\n"},
      {"a chunk size with a prefix", chunked + "0x1\r\na\r\n0\r\n\r\n"},
      {"a signed chunk size", chunked + "+1\r\na\r\n0\r\n\r\n"},
      {"an endless chunk size", chunked + "fffffffffffffffff\r\n"},
      {"a blank before a chunk size", chunked + " 1\r\na\r\n0\r\n\r\n"},
      {"a blank behind a chunk size", chunked + "1 \r\na\r\n0\r\n\r\n"},
      {"LF after a chunk size", chunked + "1\na\r\n0\r\n\r\n"},
      {"LF in an extension", chunked + "1;a\nb\r\na\r\n0\r\n\r\n"},
      {"CR in an extension", chunked + "1;a\rb\r\na\r\n0\r\n\r\n"},
      {"LF after a chunk", chunked + "1\r\na\n0\r\n\r\n"},
      {"a chunk longer than its size", chunked + "1\r\nab\r\n0\r\n\r\n"},
      {"two bytes too many in a chunk", chunked + "1\r\nab20\r\n\r\n0\r\n\r\n"},
      {"other bytes for the end of a chunk", chunked + "2\r\nabXX1\r\nc\r\n0\r\n\r\n"},
      {"LF at the end of chunks", chunked + "0\r\n\n"},
      {"a trailer without a name", chunked + "0\r\n: x\r\n\r\n"},
      {"a trailer with a blank before the colon", chunked + "0\r\nX : x\r\n\r\n"},
      {"a folded trailer", chunked + "0\r\nX: a\r\n b\r\n\r\n"},
      {"an extension without end", chunked + "1;" + std::string(300, 'x') + "\r\na\r\n0\r\n\r\n"},
      {"zeros without end", chunked + std::string(300, '0') + "1\r\na\r\n0\r\n\r\n"},
      {"no path", "GET x HTTP/1.1\r\n" + host + "\r\n"},
      {"a star", "GET * HTTP/1.1\r\n" + host + "\r\n"},
      {"a fragment", "GET /#x HTTP/1.1\r\n" + host + "\r\n"},
      {"a backslash", "GET /\\ HTTP/1.1\r\n" + host + "\r\n"},
      {"a byte that is not ASCII", "GET /\xc3\xa4 HTTP/1.1\r\n" + host + "\r\n"},
      {"a percent sign alone", "GET /% HTTP/1.1\r\n" + host + "\r\n"},
      {"half an encoding", "GET /%4 HTTP/1.1\r\n" + host + "\r\n"},
      {"a wrong encoding", "GET /%4g HTTP/1.1\r\n" + host + "\r\n"},
      {"a wrong encoding in the query", "GET /?a=%zz HTTP/1.1\r\n" + host + "\r\n"},
      {"another scheme", "GET ftp://h/ HTTP/1.1\r\n" + host + "\r\n"},
      {"an address without a host", "GET http:///x HTTP/1.1\r\n" + host + "\r\n"},
      {"an address with a user", "GET http://u@h/ HTTP/1.1\r\n" + host + "\r\n"},
      {"an authority alone", "CONNECT h:1 HTTP/1.1\r\n" + host + "\r\n"},
      {"two authorizations", get + host + "Authorization: a\r\nAuthorization: b\r\n\r\n"},
  };
  for (const auto& [name, request] : table) {
    CAPTURE(name);
    Served served;
    const std::string said = served.talk(request + "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(said.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    CHECK(count(said, "HTTP/1.1 ") == 1);
    CHECK(said.find("Connection: close") != std::string::npos);
    CHECK(served.requests.empty());
    CHECK(served.closed == 1);
  }
}

TEST_CASE("what is unusual and right is understood") {
  const std::string next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked \r\n\r\n";
  const std::vector<std::pair<std::string, std::string>> table = {
      {"\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", "/a "},
      {"GET /a HTTP/1.1\r\nhOST:h:1\r\n\r\n", "/a "},
      {"GET /a HTTP/1.1\r\nHost:\t [::1]:80 \t\r\nX:\r\nY: \xe4\t.\r\n\r\n", "/a "},
      {"GET http://g:1/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "/a "},
      {"GET HTTP://g HTTP/1.1\r\nHost: h\r\n\r\n", "/ "},
      {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "* "},
      {"GET /%C3%a4/%2F?x=%00 HTTP/1.1\r\nHost: h\r\n\r\n", "/\xc3\xa4// "},
      {"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length:  003 \r\n\r\nabc", "/a abc"},
      {"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n\n\r\n", "/a \n\r\n"},
      {chunked + "0A;a;b=c\r\n0123456789\r\n000\r\nHost: evil\r\nX: y\r\n\r\n", "/ 0123456789"},
      {chunked + "2\r\n\r\n\r\n2\r\n0\r\r\n0\r\n\r\n", "/ \r\n0\r"},
  };
  for (const auto& [request, answer] : table) {
    CAPTURE(request);
    Served served;
    const std::string said = served.talk(request + next);
    CHECK(count(said, "HTTP/1.1 200") == 2);
    CHECK(said.find("\r\n\r\n" + answer + "HTTP/1.1 200") != std::string::npos);
    CHECK(said.ends_with("/next "));
    CHECK(served.requests.at(0).header("host") != "evil");
  }
  Served absolute;
  absolute.talk("GET http://g:1/a HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(absolute.requests.at(0).header("host") == "g:1");
}

TEST_CASE("a body may not be wrapped in more than it is worth") {
  std::string request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string tiny = request;
  for (int i = 0; i < 5000; ++i) tiny += "1\r\na\r\n";
  Served served;
  CHECK(served.talk(tiny + "0\r\n\r\n").starts_with("HTTP/1.1 200"));
  for (int i = 0; i < 200; ++i) request += "1;" + std::string(200, 'x') + "\r\na\r\n";
  Served wrapped;
  CHECK(wrapped.talk(request + "0\r\n\r\n").starts_with("HTTP/1.1 400"));
  CHECK(wrapped.requests.empty());
}

TEST_CASE("the limits of the header are exact") {
  HttpLimits limits;
  limits.max_header = 100;
  limits.max_headers = 5;
  auto with = [](std::size_t size) {
    const std::string start = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
    return start + std::string(size - start.size() - 4, 'x') + "\r\n\r\n";
  };
  CHECK(Served(limits).talk(with(100)).starts_with("HTTP/1.1 200"));
  CHECK(Served(limits).talk(with(101)).starts_with("HTTP/1.1 431"));
  const std::string five = "GET / HTTP/1.1\r\nHost: h\r\na:\r\nb:\r\nc:\r\nd:\r\n";
  CHECK(Served(limits).talk(five + "\r\n").starts_with("HTTP/1.1 200"));
  CHECK(Served(limits).talk(five + "e:\r\n\r\n").starts_with("HTTP/1.1 431"));
}

TEST_CASE("HTTP/1.0 ends with its answer unless asked otherwise, and knows no chunks") {
  Served served;
  std::string said = served.talk("GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
  CHECK(count(said, "HTTP/1.1 200") == 1);
  CHECK(said.find("Connection: close") != std::string::npos);
  Served kept;
  said = kept.talk("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
  CHECK(count(said, "HTTP/1.1 200") == 2);
  CHECK(count(said, "Connection: keep-alive") == 1);
  Served pieces;
  pieces.answer = [](const std::shared_ptr<Exchange>& exchange) {
    exchange->begin(200, "text/plain");
    exchange->write("a");
    exchange->write("b");
    exchange->end();
  };
  said = pieces.talk("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(said.ends_with("\r\n\r\nab"));
  CHECK(said.find("chunked") == std::string::npos);
  CHECK(said.find("Connection: close") != std::string::npos);
}

TEST_CASE("who is to be refused is not asked for a body") {
  HttpLimits limits;
  limits.max_body = 10;
  limits.plan_body = [](const HttpRequest& request) {
    return BodyPlan{request.header("x") == "1" ? BodyPlan::Kind::hold : BodyPlan::Kind::drop};
  };
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n";
  const std::string invitation = "HTTP/1.1 100 Continue\r\n\r\n";
  CHECK(Served(limits)
            .talk(head + "X: 1\r\nContent-Length: 3\r\n\r\nabc")
            .starts_with(invitation + "HTTP/1.1 200"));
  CHECK(Served(limits).talk(head + "X: 1\r\nContent-Length: 11\r\n\r\n").starts_with("HTTP/1.1 413"));
  Served refused(limits);
  const std::string said = refused.talk(head + "Content-Length: 3\r\n\r\n");
  CHECK(said.starts_with("HTTP/1.1 200"));
  CHECK(said.find("Connection: close") != std::string::npos);
  CHECK(refused.requests.size() == 1);
  Served sends(limits);
  CHECK(count(sends.talk(head + "Content-Length: 30\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1") ==
        1);
  CHECK(sends.requests.size() <= 1);
  Served old(limits);
  CHECK(old.talk("POST / HTTP/1.0\r\nX: 1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
            .starts_with("HTTP/1.1 200"));
}

TEST_CASE("a body must go on, an answer must be read") {
  HttpLimits limits;
  limits.body_timeout = Duration(20);
  limits.min_body = 10;
  Served stalls(limits);
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n";
  REQUIRE(::write(stalls.client, head.data(), head.size()) == static_cast<ssize_t>(head.size()));
  stalls.loop.run();
  CHECK(stalls.closed == 1);
  CHECK(stalls.said().starts_with("HTTP/1.1 408"));

  // Longer than a busy machine keeps this program waiting.
  limits.body_timeout = Duration(400);
  Served goes_on(limits);
  REQUIRE(::write(goes_on.client, head.data(), head.size()) == static_cast<ssize_t>(head.size()));
  int pieces = 0;
  uv::Timer feeder(goes_on.loop, [&] {
    pieces += 1;
    REQUIRE(::write(goes_on.client, "01234567890123456789", 20) == 20);
    if (pieces < 5) feeder.start(Duration(150));
  });
  goes_on.answer = [&](const std::shared_ptr<Exchange>& exchange) {
    exchange->respond(200, "text/plain", "");
    goes_on.loop.stop();
  };
  feeder.start(Duration(150));
  goes_on.loop.run();
  REQUIRE(goes_on.requests.size() == 1);
  CHECK(goes_on.requests[0].body.size() == 100);

  limits.write_timeout = Duration(20);
  Served unread(limits);
  int gone = 0;
  unread.answer = [&](const std::shared_ptr<Exchange>& exchange) {
    exchange->on_gone([&] { gone += 1; });
    exchange->begin(200, "text/plain");
    exchange->write(std::string(8 * 1024 * 1024, 'x'));
  };
  REQUIRE(::write(unread.client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27) == 27);
  unread.loop.run();
  CHECK(unread.closed == 1);
  CHECK(gone == 1);
}

TEST_CASE("blank lines before a request are no way to stay") {
  HttpLimits limits;
  limits.header_timeout = Duration(20);
  Served served(limits);
  uv::Timer drip(served.loop, [&] {
    if (served.closed == 0 && ::send(served.client, "\r\n", 2, MSG_NOSIGNAL) == 2) drip.start(Duration(2));
  });
  drip.start(Duration(0));
  served.loop.run();
  CHECK(served.closed == 1);
}

TEST_CASE("a client that goes behind a full pipeline is noticed") {
  HttpLimits limits;
  limits.presence_check = Duration(5);
  Served served(limits);
  std::shared_ptr<Exchange> held;
  served.answer = [&](std::shared_ptr<Exchange> exchange) { held = std::move(exchange); };
  std::string requests;
  while (requests.size() < 100'000) requests += "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  served.talk(requests);
  CHECK(served.closed == 1);
  CHECK(served.requests.size() == 1);
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
  limits.header_timeout = Duration(1);
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
  const std::string first = "GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
  Served served;
  CHECK(count(served.talk(first + "GET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n"),
              "HTTP/1.1 200") == 3);
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
  limits.plan_body = [](const HttpRequest& request) {
    return BodyPlan{request.header("x") == "1" ? BodyPlan::Kind::hold : BodyPlan::Kind::drop};
  };
  Served served(limits);
  served.talk(
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
      "POST / HTTP/1.1\r\nHost: h\r\nX: 1\r\nContent-Length: 3\r\n\r\nabc");
  REQUIRE(served.requests.size() == 2);
  CHECK(served.requests[0].body.empty());
  CHECK(served.requests[1].body == "abc");
}

}  // namespace kurultai::http_test
