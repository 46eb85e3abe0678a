#include "supervisor/gateway/http.h"

#include <llhttp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "protocol/json_text.h"

namespace kurultai {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string percent_decoded(std::string_view text, bool plus_is_space) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low >= 0) {
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      decoded += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return decoded;
}

std::map<std::string, std::string> parse_query(std::string_view text) {
  std::map<std::string, std::string> query;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    query[percent_decoded(pair.substr(0, equals), true)] =
        percent_decoded(pair.substr(std::min(equals + 1, pair.size())), true);
  }
  return query;
}

}  // namespace

std::string_view status_text(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

std::string_view HttpRequest::header(std::string_view name) const {
  const auto found = headers.find(std::string(name));
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

std::optional<std::string> HttpRequest::parameter(const std::string& name) const {
  const auto found = query.find(name);
  if (found == query.end()) return {};
  return found->second;
}

/// llhttp with its callbacks, and the request that they build.
struct HttpConnection::Parser {
  explicit Parser(HttpConnection& owner) : connection(owner) {
    llhttp_settings_init(&settings);
    settings.on_message_begin = [](llhttp_t* raw) { return self(raw).begin(); };
    settings.on_url = [](llhttp_t* raw, const char* at, std::size_t n) {
      return self(raw).add(self(raw).request.target, at, n);
    };
    settings.on_header_field = [](llhttp_t* raw, const char* at, std::size_t n) {
      self(raw).finish_header_if_any();
      return self(raw).add(self(raw).name, at, n);
    };
    settings.on_header_value = [](llhttp_t* raw, const char* at, std::size_t n) {
      self(raw).value_seen = true;
      return self(raw).add(self(raw).value, at, n);
    };
    settings.on_headers_complete = [](llhttp_t* raw) { return self(raw).headers_complete(); };
    settings.on_body = [](llhttp_t* raw, const char* at, std::size_t n) { return self(raw).body(at, n); };
    settings.on_message_complete = [](llhttp_t* raw) {
      self(raw).complete = true;
      return static_cast<int>(HPE_PAUSED);  // one request at a time: the next is parsed after the answer
    };
    llhttp_init(&http, HTTP_REQUEST, &settings);
    http.data = this;
  }

  static Parser& self(llhttp_t* raw) { return *static_cast<Parser*>(raw->data); }

  int begin() {
    request = {};
    name.clear();
    value.clear();
    value_seen = complete = drops_body = false;
    header_bytes = 0;
    refused = 0;
    return 0;
  }

  int add(std::string& to, const char* at, std::size_t n) {
    header_bytes += n;
    if (header_bytes > connection.limits_.max_header) return refuse(431);
    to.append(at, n);
    return 0;
  }

  void finish_header_if_any() {
    if (!value_seen) return;
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::string& slot = request.headers[name];
    slot = slot.empty() ? value : slot + ", " + value;
    name.clear();
    value.clear();
    value_seen = false;
  }

  int headers_complete() {
    finish_header_if_any();
    // No upgrade is offered: what follows is HTTP still, whatever `Upgrade` or CONNECT ask for.
    http.upgrade = 0;
    if (static_cast<std::uint64_t>(http.content_length) > connection.limits_.max_body &&
        (http.flags & F_CONTENT_LENGTH) != 0) {
      return refuse(413);
    }
    if (http.http_major != 1) return refuse(505);  // HTTP/0.9: a request line without a version
    if (request.header("host").empty()) return refuse(400);
    const auto& may_send_body = connection.limits_.may_send_body;
    drops_body = may_send_body && !may_send_body(request);
    if (request.header("expect") == "100-continue")
      connection.stream_->write("HTTP/1.1 100 Continue\r\n\r\n");
    return 0;
  }

  int body(const char* at, std::size_t n) {
    if (drops_body) return 0;
    if (request.body.size() + n > connection.limits_.max_body) return refuse(413);
    request.body.append(at, n);
    return 0;
  }

  int refuse(int status) {
    refused = status;
    return HPE_USER;
  }

  HttpConnection& connection;
  llhttp_t http{};
  llhttp_settings_t settings{};
  HttpRequest request;
  std::string name;
  std::string value;
  bool value_seen = false;
  bool complete = false;
  bool drops_body = false;
  std::size_t header_bytes = 0;
  int refused = 0;
};

HttpConnection::HttpConnection(uv::Loop& loop, std::unique_ptr<uv::Stream> stream, bool over_tcp,
                               HttpLimits limits, OnRequest on_request,
                               std::function<void(HttpConnection&)> on_closed)
    : loop_(loop),
      stream_(std::move(stream)),
      over_tcp_(over_tcp),
      limits_(std::move(limits)),
      on_request_(std::move(on_request)),
      on_closed_(std::move(on_closed)),
      parser_(std::make_unique<Parser>(*this)),
      timer_(loop, [this] {
        const bool in_request = keep_alive_ && exchange_ == nullptr && parser_->header_bytes > 0;
        in_request ? refuse(408, "the request took too long") : close();
      }) {
  timer_.start(limits_.idle_timeout);
  stream_->read([this](std::string_view bytes) { on_data(bytes); }, [this](std::string_view) { close(); });
}

HttpConnection::~HttpConnection() {
  if (exchange_ != nullptr) exchange_->connection_ = nullptr;
}

void HttpConnection::on_data(std::string_view bytes) {
  const bool closing = !keep_alive_ && exchange_ == nullptr;
  if (closed_ || closing) return;
  if (exchange_ != nullptr || feeding_ || !waiting_.empty()) {
    // Behind an unanswered request, or behind what was kept for that: no more is read than fits here.
    waiting_.append(bytes);
    if (waiting_.size() > limits_.max_header) stream_->pause();
    return;
  }
  if (parser_->header_bytes == 0) timer_.start(limits_.request_timeout);
  feeding_ = true;
  const llhttp_errno_t status = llhttp_execute(&parser_->http, bytes.data(), bytes.size());
  feeding_ = false;
  if (status == HPE_PAUSED) {
    const char* stopped = llhttp_get_error_pos(&parser_->http);
    waiting_.insert(0, bytes.substr(static_cast<std::size_t>(stopped - bytes.data())));
    llhttp_resume(&parser_->http);
    return on_request_complete();
  }
  if (status == HPE_OK) return;
  switch (parser_->refused) {
    case 413:
      return refuse(413, "the body is larger than gateway.max_body");
    case 431:
      return refuse(431, "the header is larger than 16 KiB");
    case 400:
      return refuse(400, "the request has no Host header");
    case 505:
      return refuse(505, "the request is not HTTP/1.1 or HTTP/1.0");
    default:
      return refuse(400, std::string("malformed HTTP: ") + llhttp_get_error_reason(&parser_->http));
  }
}

void HttpConnection::on_request_complete() {
  timer_.stop();
  HttpRequest request = std::move(parser_->request);
  request.method = llhttp_method_name(static_cast<llhttp_method_t>(parser_->http.method));
  request.over_tcp = over_tcp_;
  const std::string_view target = request.target;
  const std::size_t question = std::min(target.find('?'), target.size());
  request.path = percent_decoded(target.substr(0, question), false);
  request.query = parse_query(target.substr(std::min(question + 1, target.size())));
  keep_alive_ = llhttp_should_keep_alive(&parser_->http) != 0;
  parser_->header_bytes = 0;
  exchange_ = std::make_shared<Exchange>(this, std::move(request));
  // Held here: an answer given at once ends the exchange inside the call.
  const auto exchange = exchange_;
  on_request_(exchange);
}

void HttpConnection::refuse(int status, std::string_view message) {
  keep_alive_ = false;
  lingers_ = true;
  exchange_ = std::make_shared<Exchange>(this, HttpRequest{});
  const std::string_view code = status == 413 ? "payload_too_large" : "invalid_request";
  const auto exchange = exchange_;
  exchange->respond(
      status, "application/json",
      R"({"error":{"code":")" + std::string(code) + R"(","message":")" + std::string(message) + "\"}}\n");
}

std::string HttpConnection::head_of(int status, std::string_view type, const Headers& headers,
                                    std::optional<std::int64_t> length) const {
  std::string head = "HTTP/1.1 " + std::to_string(status) + " " + std::string(status_text(status)) + "\r\n";
  auto add = [&head](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  if (!type.empty()) add("Content-Type", type);
  for (const auto& [name, value] : headers) add(name, value);
  if (length) {
    add("Content-Length", std::to_string(*length));
  } else {
    add("Transfer-Encoding", "chunked");
  }
  if (!keep_alive_) add("Connection", "close");
  return head + "\r\n";
}

void HttpConnection::response_done() {
  exchange_.reset();
  if (!keep_alive_) return close_soon();
  timer_.start(limits_.idle_timeout);
  if (waiting_.empty()) return stream_->resume();
  // Not from inside the answer: a long pipeline must not become a deep stack.
  uv::defer(loop_, [this, guard = std::weak_ptr(alive_)] {
    if (guard.expired() || closed_) return;
    stream_->resume();
    on_data(std::exchange(waiting_, {}));
  });
}

void HttpConnection::close_soon() {
  keep_alive_ = false;
  if (exchange_ != nullptr || closed_) return;
  timer_.start(limits_.idle_timeout);  // for a client that does not read its answer
  stream_->when_written([this] { lingers_ ? linger() : close(); });
}

// A client that is still sending loses the answer when its connection is closed under it (RFC 9112, 9.6):
// what it sends is read and dropped until it has seen the end.
void HttpConnection::linger() {
  ::shutdown(stream_->fd(), SHUT_WR);
  timer_.start(limits_.linger_time);
  stream_->resume();
}

void HttpConnection::close() {
  if (std::exchange(closed_, true)) return;
  timer_.stop();
  stream_->pause();
  if (const auto exchange = std::exchange(exchange_, nullptr)) {
    exchange->connection_ = nullptr;
    if (exchange->on_gone_) std::exchange(exchange->on_gone_, nullptr)();
  }
  on_closed_(*this);
}

void Exchange::respond(int status, std::string_view type, std::string body, const Headers& headers) {
  if (!is_open()) return;
  const auto length = static_cast<std::int64_t>(body.size());
  if (request_.method == "HEAD") body.clear();
  connection_->stream_->write(connection_->head_of(status, type, headers, length) + body);
  std::exchange(connection_, nullptr)->response_done();
}

void Exchange::begin(int status, std::string_view type, const Headers& headers,
                     std::optional<std::int64_t> length) {
  if (!is_open()) return;
  chunked_ = !length.has_value();
  connection_->stream_->write(connection_->head_of(status, type, headers, length));
  // HEAD asks for no body: its answer ends here, whatever the route goes on to write.
  if (request_.method == "HEAD") std::exchange(connection_, nullptr)->response_done();
}

void Exchange::write(std::string bytes) {
  if (!is_open() || bytes.empty() || request_.method == "HEAD") return;
  if (!chunked_) return connection_->stream_->write(std::move(bytes));
  char size[24];
  const int digits = std::snprintf(size, sizeof(size), "%zx\r\n", bytes.size());
  bytes.insert(0, size, static_cast<std::size_t>(digits));
  connection_->stream_->write(bytes.append("\r\n"));
}

void Exchange::end() {
  if (!is_open()) return;
  if (chunked_ && request_.method != "HEAD") connection_->stream_->write("0\r\n\r\n");
  std::exchange(connection_, nullptr)->response_done();
}

void Exchange::abort() {
  if (is_open()) connection_->close();
}

std::size_t Exchange::pending() const { return is_open() ? connection_->stream_->pending() : 0; }

void Exchange::when_written(std::function<void()> then) {
  if (is_open()) connection_->stream_->when_written(std::move(then));
}

}  // namespace kurultai
