// However requests are cut into reads, HttpConnection sees the same ones, and those that RFC 9112 sees in the
// whole; what is wrong is refused, once, and ends the connection.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "supervisor/gateway/http.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/expected_requests.h"
#include "tests/fuzz/loop.h"

using namespace kurultai;

namespace {

constexpr fuzz::Limits small{400, 8, 64};

struct Outcome {
  std::vector<HttpRequest> requests;
  int refused = 0;  // its status; 0: nothing was
  bool closed = false;
};

/// A connection that answers every other request in a later turn of the loop.
class Served {
 public:
  Served() {
    HttpLimits limits;
    limits.max_header = small.head;
    limits.max_headers = small.headers;
    limits.max_body = small.body;
    connection_ = std::make_unique<HttpConnection>(
        loop_, *uv::Stream::open_pipe(loop_, 0), false, limits,
        [this](std::shared_ptr<Exchange> exchange) { answer(std::move(exchange)); },
        [this](HttpConnection&) { outcome_.closed = true; });
  }

  void send(std::string_view bytes) { fuzz::deliver(loop_, bytes); }

  Outcome outcome() {
    const std::string& heard = loop_.raw()->line.heard;
    // Answers of requests have no body here, so the error's is the only one.
    const std::size_t error = heard.find("{\"error\"");
    if (error != std::string::npos) {
      const std::size_t head = heard.rfind("HTTP/1.1 ", error);
      outcome_.refused = std::stoi(heard.substr(head + 9, 3));
      HOLDS(heard.find("Connection: close\r\n", head) < error);
      HOLDS(heard.find("HTTP/1.1 2", error) == std::string::npos);
      const std::size_t seen = outcome_.requests.size();
      send("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
      HOLDS(outcome_.requests.size() == seen);
    }
    return std::move(outcome_);
  }

 private:
  void answer(std::shared_ptr<Exchange> exchange) {
    HOLDS(exchange->request().body.size() <= small.body);
    outcome_.requests.push_back(exchange->request());
    if (outcome_.requests.size() % 2 == 0) return exchange->respond(200, "", "");
    uv::defer(loop_, [exchange] { exchange->respond(200, "", ""); });
  }

  uv::Loop loop_;
  Outcome outcome_;
  std::unique_ptr<HttpConnection> connection_;
};

void same(const Outcome& a, const Outcome& b) {
  HOLDS(a.refused == b.refused);
  HOLDS(a.closed == b.closed);
  HOLDS(a.requests.size() == b.requests.size());
  for (std::size_t i = 0; i < a.requests.size(); ++i) {
    const HttpRequest &x = a.requests[i], &y = b.requests[i];
    HOLDS(x.method == y.method && x.target == y.target && x.path == y.path && x.query == y.query);
    HOLDS(x.headers == y.headers && x.body == y.body && x.is_http_1_0 == y.is_http_1_0);
  }
}

void as_expected(const Outcome& outcome, const fuzz::Expected& expected) {
  using End = fuzz::Expected::End;
  HOLDS(outcome.requests.size() >= expected.requests.size());
  for (std::size_t i = 0; i < expected.requests.size(); ++i) {
    const HttpRequest& seen = outcome.requests[i];
    const fuzz::ExpectedRequest& wanted = expected.requests[i];
    HOLDS(seen.method == wanted.method && seen.target == wanted.target);
    HOLDS(seen.headers == wanted.headers && seen.body == wanted.body);
  }
  if (expected.end == End::open) return;
  HOLDS(outcome.requests.size() == expected.requests.size());
  HOLDS(expected.end != End::refused || outcome.refused != 0);
  HOLDS(expected.end != End::closed || (outcome.refused == 0 && outcome.closed));
}

Outcome in_steps(std::string_view bytes, std::size_t step) {
  Served served;
  for (std::size_t at = 0; at < bytes.size(); at += step) served.send(bytes.substr(at, step));
  return served.outcome();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Outcome whole = in_steps(bytes, size + 1);
  as_expected(whole, fuzz::expected_requests(bytes, small));
  for (const std::size_t step : {1, 2, 3, 17}) same(whole, in_steps(bytes, step));
  // One cut, at as many places as there is time for.
  const std::size_t apart = 1 + size / 24;
  for (std::size_t cut = size % apart; cut < size; cut += apart) {
    Served served;
    served.send(bytes.substr(0, cut));
    served.send(bytes.substr(cut));
    same(whole, served.outcome());
  }
  return 0;
}
