#include "supervisor/gateway/http.h"

#include <llhttp.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "supervisor/gateway/request_rules.h"
#include "supervisor/store/upload.h"

namespace kurultai {

std::string_view status_text(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 206:
      return "Partial Content";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
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
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
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
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

std::optional<std::string> HttpRequest::parameter(const std::string& name) const {
  const auto found = query.find(name);
  if (found == query.end()) return {};
  return found->second;
}

/// llhttp with its callbacks, and the request that they build. llhttp stops wherever something is decided, so
/// that the lines before it are judged first and the answer does not depend on how the bytes were cut.
struct HttpConnection::Parser {
  enum class Stop { none, head, chunk, end };

  explicit Parser(HttpConnection& owner) : connection(owner), lines(owner.limits_.max_header) {
    llhttp_settings_init(&settings);
    settings.on_url = [](llhttp_t* raw, const char* at, std::size_t n) {
      self(raw).request.target.append(at, n);
      return 0;
    };
    settings.on_header_field = [](llhttp_t* raw, const char* at, std::size_t n) {
      self(raw).finish_header_if_any();
      self(raw).name.append(at, n);
      return 0;
    };
    settings.on_header_value = [](llhttp_t* raw, const char* at, std::size_t n) {
      self(raw).value.append(at, n);
      return 0;
    };
    settings.on_header_value_complete = [](llhttp_t* raw) {
      self(raw).value_seen = true;
      return 0;
    };
    settings.on_headers_complete = [](llhttp_t* raw) { return self(raw).stop_at(Stop::head); };
    settings.on_chunk_header = [](llhttp_t* raw) { return self(raw).stop_at(Stop::chunk); };
    settings.on_body = [](llhttp_t* raw, const char* at, std::size_t n) { return self(raw).body(at, n); };
    // One request at a time: the next is parsed after the answer.
    settings.on_message_complete = [](llhttp_t* raw) { return self(raw).stop_at(Stop::end); };
    llhttp_init(&http, HTTP_REQUEST, &settings);
    http.data = this;
  }

  static Parser& self(llhttp_t* raw) { return *static_cast<Parser*>(raw->data); }

  void next_request() {
    request = {};
    name.clear();
    value.clear();
    value_seen = complete = in_body = answers_early = false;
    plan = {};
    header_count = body_bytes = 0;
    lines = RequestLines(connection.limits_.max_header);
  }

  int stop_at(Stop place) {
    stop = place;
    return HPE_PAUSED;
  }

  /// Reads on, at most to the end of the request, and returns how many bytes that took.
  std::size_t feed(std::string_view bytes) {
    std::size_t taken = 0;
    bool stopped = true;
    while (!fault && !complete && (stopped || taken < bytes.size())) {
      const std::string_view part = bytes.substr(taken, in_body ? std::string_view::npos : lines.left());
      unchecked = part.data();
      const llhttp_errno_t status = llhttp_execute(&http, part.data(), part.size());
      const char* end = status == HPE_OK ? part.data() + part.size() : llhttp_get_error_pos(&http);
      look_at_lines(end);
      taken += static_cast<std::size_t>(end - part.data());
      stopped = status == HPE_PAUSED;
      if (fault) break;
      if (stopped) {
        llhttp_resume(&http);
        pass(std::exchange(stop, Stop::none));
      } else if (status != HPE_OK) {
        fault = {400, std::string("malformed HTTP: ") + llhttp_get_error_reason(&http)};
      } else if (!in_body && lines.left() == 0) {
        fault = {431, "the header is larger than 16 KiB"};
      }
    }
    return taken;
  }

  void look_at_lines(const char* end) {
    const std::string_view bytes(unchecked, static_cast<std::size_t>(end - unchecked));
    if (const auto wrong = lines.take(bytes)) fault = {400, "malformed HTTP: " + std::string(*wrong)};
    unchecked = end;
  }

  void pass(Stop place) {
    switch (place) {
      case Stop::head:
        return head_complete();
      case Stop::chunk:
        if (http.content_length == 0) lines.begin_trailers();
        if (http.content_length > most_body() - body_bytes) body_too_large();
        return;
      case Stop::end:
        complete = true;
        return;
      case Stop::none:
        return;
    }
  }

  void finish_header_if_any() {
    if (!std::exchange(value_seen, false) || in_body) return;  // trailers say nothing that is used here
    name = lower_case(std::move(name));
    while (value.ends_with(' ') || value.ends_with('\t')) value.pop_back();
    header_count += 1;
    if (header_count > connection.limits_.max_headers)
      header_fault = {431, "the request has too many headers"};
    const auto [slot, is_new] = request.headers.try_emplace(name, value);
    if (!is_new) slot->second += ", " + value;
    if (!is_new && !may_repeat(name)) header_fault = {400, "the request has two headers " + name};
    name.clear();
    value.clear();
  }

  void head_complete() {
    finish_header_if_any();
    lines.begin_body();
    in_body = true;
    // No upgrade is offered: what follows is HTTP still, whatever `Upgrade` asks for.
    http.upgrade = 0;
    request.method = llhttp_method_name(static_cast<llhttp_method_t>(http.method));
    request.over_tcp = connection.over_tcp_;
    request.is_http_1_0 = http.http_minor == 0;
    if (http.http_major != 1 || http.http_minor > 1) {
      fault = {505, "the request is not HTTP/1.1 or HTTP/1.0"};
    } else if (header_fault) {
      fault = header_fault;
    } else {
      fault = read_head(request, lines.request_line());
    }
    if (fault) return;
    if (connection.limits_.plan_body) plan = connection.limits_.plan_body(request);
    request.upload = plan.upload;
    const std::uint64_t length = (http.flags & F_CONTENT_LENGTH) != 0 ? http.content_length : 0;
    const bool has_body = length > 0 || (http.flags & F_CHUNKED) != 0;
    const bool is_asked_for = !request.header("expect").empty() && !request.is_http_1_0;
    const bool refuses = plan.kind == BodyPlan::Kind::refuse;
    // Who will be refused is told so instead of being asked for the body, which may come all the same.
    if ((refuses && has_body) || (drops_body() && (is_asked_for || length > most_body())) ||
        (is_asked_for && refuses)) {
      complete = answers_early = true;
      return;
    }
    if (length > most_body()) return body_too_large();
    if (is_asked_for) connection.send("HTTP/1.1 100 Continue\r\n\r\n");
  }

  bool drops_body() const { return plan.kind == BodyPlan::Kind::drop; }

  std::uint64_t most_body() const {
    return plan.upload == nullptr ? connection.limits_.max_body
                                  : static_cast<std::uint64_t>(plan.upload->max_bytes());
  }

  int body(const char* at, std::size_t n) {
    look_at_lines(at);
    unchecked = at + n;
    body_bytes += n;
    lines.add_body(n);
    if (drops_body() || fault) return 0;
    if (plan.upload == nullptr) {
      request.body.append(at, n);
    } else {
      plan.upload->take({at, n});
    }
    return 0;
  }

  void body_too_large() {
    fault = {413, plan.upload == nullptr ? "the body is larger than gateway.max_body"
                                         : "the payload is larger than store.max_payload"};
  }

  HttpConnection& connection;
  llhttp_t http{};
  llhttp_settings_t settings{};
  HttpRequest request;
  RequestLines lines;
  std::optional<RequestFault> header_fault;
  std::optional<RequestFault> fault;  // the end of this connection
  std::string name;
  std::string value;
  const char* unchecked = nullptr;  // up to here the lines were judged
  std::size_t header_count = 0;
  std::uint64_t body_bytes = 0;
  Stop stop = Stop::none;
  bool value_seen = false;
  bool in_body = false;
  BodyPlan plan;
  bool complete = false;
  bool answers_early = false;
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
      timer_(loop, [this] { on_time(); }),
      write_timer_(loop, [this] { check_reader(); }) {
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
    if (waiting_.size() <= limits_.max_header) return;
    stream_->pause();
    if (exchange_ != nullptr) timer_.start(limits_.presence_check);
    return;
  }
  if (parser_->lines.empty()) timer_.start(limits_.header_timeout);
  const bool was_in_body = parser_->in_body;
  feeding_ = true;
  const std::size_t taken = parser_->feed(bytes);
  feeding_ = false;
  if (parser_->fault) return refuse(parser_->fault->status, parser_->fault->why);
  if (parser_->complete) {
    waiting_.insert(0, bytes.substr(taken));
    return on_request_complete();
  }
  if (!parser_->in_body) return;
  body_window_ = was_in_body ? body_window_ + bytes.size() : 0;
  if (!was_in_body) timer_.start(limits_.body_timeout);
  pace_upload();
}

// While it waits for our disk, that is not the client's time.
void HttpConnection::pace_upload() {
  const auto& upload = parser_->plan.upload;
  if (upload == nullptr || !upload->is_full()) return;
  timer_.stop();
  stream_->pause();
  upload->when_room([this] {
    body_window_ = 0;
    timer_.start(limits_.body_timeout);
    stream_->resume();
  });
}

void HttpConnection::on_time() {
  if (exchange_ != nullptr) {
    if (stream_->peer_has_gone()) return close();
    return timer_.start(limits_.presence_check);
  }
  const bool in_request = keep_alive_ && !parser_->lines.empty();
  if (in_request && parser_->in_body && body_window_ >= limits_.min_body) {
    body_window_ = 0;
    return timer_.start(limits_.body_timeout);
  }
  if (in_request) return refuse(408, "the request took too long");
  // An answer that is still being read is check_reader's concern.
  if (!lingers_ && stream_->pending() > 0) return timer_.start(limits_.idle_timeout);
  close();
}

void HttpConnection::on_request_complete() {
  timer_.stop();
  const bool early = parser_->answers_early;
  HttpRequest request = std::move(parser_->request);
  keep_alive_ = llhttp_should_keep_alive(&parser_->http) != 0 && !early && !limits_.one_request;
  lingers_ = early;
  parser_->next_request();
  exchange_ = std::make_shared<Exchange>(this, std::move(request));
  // Held here: an answer given at once ends the exchange inside the call.
  const auto exchange = exchange_;
  on_request_(exchange);
}

void HttpConnection::send(std::string bytes) {
  sent_ += bytes.size();
  stream_->write(std::move(bytes));
  if (stream_->pending() == 0 || write_timer_.is_running()) return;
  taken_ = sent_ - stream_->pending();
  write_timer_.start(limits_.write_timeout);
}

// Not stopped whenever all was taken: one look at the end of each stretch of time costs less.
void HttpConnection::check_reader() {
  if (closed_ || stream_->pending() == 0) return;
  const std::uint64_t taken = sent_ - stream_->pending();
  if (taken == taken_) return close();
  taken_ = taken;
  write_timer_.start(limits_.write_timeout);
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
  std::string head;
  head.reserve(256);
  head.append("HTTP/1.1 ")
      .append(std::to_string(status))
      .append(" ")
      .append(status_text(status))
      .append("\r\n");
  auto add = [&head](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  const bool is_http_1_0 = exchange_ != nullptr && exchange_->request_.is_http_1_0;
  if (!type.empty()) add("Content-Type", type);
  for (const auto& [name, value] : headers) add(name, value);
  if (exchange_ != nullptr) {
    for (const auto& [name, value] : exchange_->headers_) add(name, value);
  }
  const bool has_body = status != 204 && status != 304;  // the length that 304 may name is that of the page
  if (length && has_body) add("Content-Length", std::to_string(*length));
  if (!length && !is_http_1_0) add("Transfer-Encoding", "chunked");
  if (!keep_alive_) add("Connection", "close");
  if (keep_alive_ && is_http_1_0) add("Connection", "keep-alive");
  head.append("\r\n");
  return head;
}

void HttpConnection::response_done() {
  exchange_.reset();
  if (!keep_alive_) return close_soon();
  timer_.start(limits_.idle_timeout);
  if (stream_->pending() <= limits_.max_untaken) return next_request();
  stream_->pause();  // it asks and does not take the answers: no memory for that
  stream_->when_written([this] { next_request(); });
}

void HttpConnection::next_request() {
  if (closed_) return;
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
  timer_.start(limits_.idle_timeout);
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
  write_timer_.stop();
  stream_->pause();
  parser_->next_request();  // with what has come of an upload
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
  connection_->send(connection_->head_of(status, type, headers, length).append(body));
  std::exchange(connection_, nullptr)->response_done();
}

void Exchange::begin(int status, std::string_view type, const Headers& headers,
                     std::optional<std::int64_t> length) {
  if (!is_open()) return;
  chunked_ = !length && !request_.is_http_1_0;
  if (!length && request_.is_http_1_0) connection_->keep_alive_ = false;
  connection_->send(connection_->head_of(status, type, headers, length));
  // HEAD asks for no body: its answer ends here, whatever the route goes on to write.
  if (request_.method == "HEAD") std::exchange(connection_, nullptr)->response_done();
}

void Exchange::write(std::string bytes) {
  if (!is_open() || bytes.empty() || request_.method == "HEAD") return;
  if (!chunked_) return connection_->send(std::move(bytes));
  char size[24];
  const int digits = std::snprintf(size, sizeof(size), "%zx\r\n", bytes.size());
  bytes.insert(0, size, static_cast<std::size_t>(digits));
  connection_->send(std::move(bytes.append("\r\n")));
}

void Exchange::end() {
  if (!is_open()) return;
  if (chunked_ && request_.method != "HEAD") connection_->send("0\r\n\r\n");
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
