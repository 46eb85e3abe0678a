// HTTP to one supervisor, over its Unix socket or TCP: any number of requests at once on one thread, by
// libcurl's multi interface. Callbacks run inside `turn`. A `Done` may start and cancel requests; a `Sink`
// may not (libcurl forbids it), so it only takes the bytes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "protocol/duration.h"
#include "tools/kurultai/complaint.h"
#include "tools/kurultai/endpoint.h"

namespace kurultai {

struct Request {
  std::string method = "GET";
  std::string path;                            // with the query
  std::string body;                            // JSON
  std::string last_event_id;                   // sent when not empty
  Duration timeout{std::chrono::seconds(60)};  // for the whole answer; 0: none
  int upload = -1;                             // an open file whose bytes are the body instead, as they are
  std::string range{};                         // of bytes, as in `0-99`; sent when not empty
};

struct Response {
  int status = 0;
  std::string body;  // empty when a Sink took it
};

/// Of the answers that bring what was asked for; the others say why not.
inline bool is_good(const Response& response) { return response.status >= 200 && response.status < 300; }
inline bool is_good(const Answer<Response>& answer) { return answer && is_good(*answer); }

/// A file descriptor to wait for besides the requests.
struct Watch {
  int fd;
  bool readable = false;
};

class Http {
 public:
  /// Takes the bytes of a 2xx answer as they come; false ends the request, which then counts as done.
  using Sink = std::function<bool(std::string_view)>;
  /// A complaint when no answer came; a refusal is an answer.
  using Done = std::function<void(Answer<Response>)>;
  using Id = int;

  explicit Http(Endpoint endpoint);
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  Id start(Request request, Done done, Sink sink = {});
  /// Drops the request without calling its Done. An id that has ended is ignored.
  void cancel(Id id);
  /// Whether some request has not ended.
  bool busy() const { return !transfers_.empty(); }
  /// Whether the head of the answer has come.
  bool opened(Id id) const;

  /// Waits until something happens, at most so long, and does what there is to do.
  void turn(std::span<Watch> watches, Duration at_most);

  /// One request from beginning to end.
  Answer<Response> request(Request request, Sink sink = {});

  const Endpoint& endpoint() const { return endpoint_; }

 private:
  struct Transfer;
  void advance();
  void finish(void* easy, int curl_code);
  Complaint no_answer(const Transfer& transfer, int curl_code) const;

  Endpoint endpoint_;
  void* multi_;
  std::map<Id, std::unique_ptr<Transfer>> transfers_;
  Id next_id_ = 1;
  bool progressed_ = false;  // a byte or an end came since it was cleared
};

}  // namespace kurultai
