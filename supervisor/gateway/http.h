// HTTP/1.1 on one connection: requests are read with llhttp, one is answered at a time. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/uv/stream.h"

namespace kurultai {

class Upload;

struct HttpRequest {
  std::string method;
  std::string target;                        // as sent
  std::string path;                          // of the target, percent-decoded
  std::map<std::string, std::string> query;  // percent-decoded
  /// Names in lower case; repeated ones joined by ", ".
  std::map<std::string, std::string, std::less<>> headers;
  std::string body;                     // where it is held in memory,
  std::shared_ptr<Upload> upload = {};  // and where it is not
  bool over_tcp = false;
  bool is_http_1_0 = false;

  /// Empty if there is none.
  std::string_view header(std::string_view name) const;
  std::optional<std::string> parameter(const std::string& name) const;
};

/// What becomes of a request's body.
struct BodyPlan {
  enum class Kind : unsigned char {
    hold,    // in memory, up to max_body
    spool,   // into `upload`
    drop,    // read and dropped: the request will be refused for who sent it
    refuse,  // not read: the request will be refused, and the connection closed
  } kind = Kind::hold;
  std::shared_ptr<Upload> upload = {};
};

struct HttpLimits {
  std::size_t max_body = 1024 * 1024;
  std::size_t max_header = 16 * 1024;  // with the request line and all line ends
  std::size_t max_headers = 100;
  std::size_t max_untaken = 256 * 1024;  // of earlier answers, when another request is read
  Duration header_timeout{10000};        // from a request's first byte to the end of its header
  /// Of a body each such stretch of time has to bring at least min_body bytes (1 KiB/s). Of an answer that
  /// waits for its reader the kernel must take something: it takes large pieces, so a rate would be unjust.
  Duration body_timeout{10000};
  std::size_t min_body = 10 * 1024;
  Duration write_timeout{60000};
  Duration idle_timeout{60000};  // between requests
  Duration linger_time{2000};    // after a refusal, for a client that is still sending
  bool one_request = false;      // then the connection ends
  /// While more than is kept of a pipeline waits, nothing is read that would tell that the client has gone.
  Duration presence_check{5000};
  /// Asked at the end of the header. Empty: all bodies are held.
  std::function<BodyPlan(const HttpRequest&)> plan_body = {};
};

using Headers = std::vector<std::pair<std::string, std::string>>;

class HttpConnection;

/// One request and the way to answer it, at once or later. All calls are harmless when the client has gone.
class Exchange {
 public:
  Exchange(HttpConnection* connection, HttpRequest request)
      : connection_(connection), request_(std::move(request)) {}

  const HttpRequest& request() const { return request_; }
  bool is_open() const { return connection_ != nullptr; }

  void respond(int status, std::string_view type, std::string body, const Headers& headers = {});
  /// A body in pieces: chunked, or of a length known beforehand. Then write() as often as wanted, then end().
  void begin(int status, std::string_view type, const Headers& headers = {},
             std::optional<std::int64_t> length = {});
  void write(std::string bytes);
  void end();
  /// Gives up in the middle of a body: the client sees a broken response, not a short one.
  void abort();

  std::size_t pending() const;
  void when_written(std::function<void()> then);
  /// For every kind of answer, beside its own.
  void add_header(std::string name, std::string value) {
    headers_.emplace_back(std::move(name), std::move(value));
  }
  /// Called once if the client goes before the answer is complete.
  void on_gone(std::function<void()> callback) { on_gone_ = std::move(callback); }

 private:
  friend class HttpConnection;
  HttpConnection* connection_;
  HttpRequest request_;
  Headers headers_;
  std::function<void()> on_gone_;
  bool chunked_ = false;
};

class HttpConnection {
 public:
  using OnRequest = std::function<void(std::shared_ptr<Exchange>)>;

  /// `on_closed` may destroy the connection in a later turn of the loop, not in the call.
  HttpConnection(uv::Loop& loop, std::unique_ptr<uv::Stream> stream, bool over_tcp, HttpLimits limits,
                 OnRequest on_request, std::function<void(HttpConnection&)> on_closed);
  ~HttpConnection();

  /// Closes when the answer under way (if any) was sent.
  void close_soon();

 private:
  friend class Exchange;
  struct Parser;

  void on_data(std::string_view bytes);
  void pace_upload();
  void on_time();
  void on_request_complete();
  void refuse(int status, std::string_view message);
  void send(std::string bytes);
  void check_reader();
  void response_done();
  void next_request();
  void linger();
  /// Without a length the body is chunked, or ends with the connection.
  std::string head_of(int status, std::string_view type, const Headers& headers,
                      std::optional<std::int64_t> length) const;
  void close();

  uv::Loop& loop_;
  std::unique_ptr<uv::Stream> stream_;
  bool over_tcp_;
  HttpLimits limits_;
  OnRequest on_request_;
  std::function<void(HttpConnection&)> on_closed_;
  std::unique_ptr<Parser> parser_;
  uv::Timer timer_;
  uv::Timer write_timer_;        // runs while something waits for its reader
  std::uint64_t sent_ = 0;       // bytes given to the stream
  std::uint64_t taken_ = 0;      // of them, those that the kernel had taken when write_timer_ was started
  std::size_t body_window_ = 0;  // bytes read since timer_ was started for the body
  std::shared_ptr<Exchange> exchange_;  // the request being answered
  std::string waiting_;                 // pipelined bytes behind it
  bool feeding_ = false;
  bool keep_alive_ = true;
  bool lingers_ = false;
  bool closed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// "OK", "Not Found" …
std::string_view status_text(int status);

}  // namespace kurultai
