#include "tools/kurultai/mcp/asking.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "protocol/json_text.h"
#include "tools/kurultai/event_stream.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/mcp/progress.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/task_view.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

// Of an answer that comes later than its wait allows.
constexpr Duration patience = std::chrono::seconds(60);

bool has_finished(const Answer<Response>& answer) {
  const auto task = parse_json(answer && answer->status < 300 ? answer->body : "");
  return task && decode_task(*task).finished();
}

/// Lives in the callbacks of its requests.
class Waiting : public std::enable_shared_from_this<Waiting> {
 public:
  Waiting(Http& http, const Call& call, const std::string& id, Then then)
      : http_(http), call_(call), id_(id), then_(std::move(then)) {}

  void start(WaitFor wait) {
    call_.on_cancel([self = shared_from_this()] { self->drop(); });
    if (call_.wants_progress()) follow();
    Request request = get_request(task_path(id_) + "?wait=" + to_string(wait.at_most) +
                                  (wait.cancels_when_gone ? "&onDisconnect=cancel" : ""));
    request.timeout = wait.at_most + patience;
    asked_ = http_.start(std::move(request), [self = shared_from_this()](Answer<Response> answer) {
      self->ended(std::move(answer));
    });
  }

  void drop() {
    if (events_ != 0) http_.cancel(std::exchange(events_, 0));
    if (asked_ != 0) http_.cancel(std::exchange(asked_, 0));
  }

 private:
  void follow() {
    Request request = get_request("/v1/events?taskId=" + url_escaped(id_));
    request.timeout = Duration(0);
    request.last_event_id = "0";  // its whole life
    events_ = http_.start(
        std::move(request), [self = shared_from_this()](const Answer<Response>&) { self->events_ended(); },
        [self = shared_from_this()](std::string_view bytes) {
          for (const auto& event : self->stream_.feed(bytes)) self->tell(event);
          return true;
        });
  }

  void tell(const StreamEvent& event) {
    if (event.type != "taskProgress") return;
    const auto data = parse_json(event.data);
    if (!data) return;
    if (const auto note =
            told_.next(number_field(*data, "percent").value_or(0), text_field(*data, "message")))
      call_.progress(*note);
  }

  /// The events of a task end with it, so whatever it told has come when they have.
  void ended(Answer<Response> answer) {
    asked_ = 0;
    if (events_ == 0 || !has_finished(answer)) return finish(std::move(answer));
    answer_ = std::move(answer);
  }

  void events_ended() {
    events_ = 0;
    if (answer_) finish(*std::exchange(answer_, std::nullopt));
  }

  void finish(Answer<Response> answer) {
    drop();
    then_(std::move(answer));
  }

  Http& http_;
  Call call_;
  std::string id_;
  Then then_;
  EventStream stream_;
  ProgressTold told_;
  Http::Id events_ = 0;  // 0: none
  Http::Id asked_ = 0;
  std::optional<Answer<Response>> answer_;  // that waits for the end of the events
};

}  // namespace

Request get_request(std::string path) {
  Request request;
  request.path = std::move(path);
  return request;
}

Request post_request(std::string path, std::string body) {
  Request request = get_request(std::move(path));
  request.method = "POST";
  request.body = std::move(body);
  return request;
}

Http::Id ask(Http& http, const Call& call, Request request, Then then) {
  const Http::Id id = http.start(std::move(request), [call, then = std::move(then)](Answer<Response> answer) {
    if (call.is_open()) then(std::move(answer));
  });
  call.on_cancel([&http, id] { http.cancel(id); });
  return id;
}

std::function<void()> wait_for_task(Http& http, const Call& call, const std::string& id, WaitFor wait,
                                    Then then) {
  const auto waiting = std::make_shared<Waiting>(http, call, id, std::move(then));
  waiting->start(wait);
  return [waiting] { waiting->drop(); };
}

}  // namespace kurultai
