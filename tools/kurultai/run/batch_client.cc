#include "tools/kurultai/run/batch_client.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_text.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/task_view.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

constexpr Duration silence_before_asking{5000};
constexpr Duration asking_without_events{250};

}  // namespace

void BatchClient::start(TimePoint now) {
  asked_at_ = now;
  open_events(now);
}

void BatchClient::open_events(TimePoint now) {
  now_ = now;
  events_open_ = true;
  Request request;
  request.path = "/v1/events";
  request.last_event_id = stream_.last_id();
  request.timeout = Duration(0);
  events_ = http_.start(
      std::move(request),
      [this](const Answer<Response>& response) {
        events_open_ = false;
        events_gone_ = response && response->status >= 400;
        asked_at_ = {};  // events may have been missed
      },
      [this](std::string_view bytes) {
        for (auto& event : stream_.feed(bytes)) arrived_.push_back(std::move(event));
        return true;
      });
}

void BatchClient::submit(std::string label, std::string body) {
  const auto sequence = batch_.add(label);
  pending_ = Pending{sequence, std::move(label), std::move(body)};
  send_pending();
}

void BatchClient::send_pending() {
  pending_->sent = true;
  http_.start({"POST", "/v1/tasks", pending_->body, "", std::chrono::seconds(60)},
              [this](Answer<Response> response) { take_answer(std::move(response)); });
}

void BatchClient::take_answer(Answer<Response> response) {
  const auto body = body_of(std::move(response));
  if (!body) return take_refusal(body.error());
  const auto object = parse_answer(*body);
  const std::string id = object ? text_field(*object, "taskId") : "";
  if (id.empty()) {
    fault_ = "the supervisor accepted a command without naming its task";
    return;
  }
  batch_.accepted(pending_->sequence, id);
  pending_.reset();
  if (stopped_) stop_waiting();
}

void BatchClient::take_refusal(const Complaint& refused) {
  pending_->sent = false;
  if (refused.status == ExitStatus::no_supervisor) {
    fault_ = refused.text;
  } else if (stopped_) {
    batch_.given_up(pending_->sequence);
    pending_.reset();
  } else if (refused.status == ExitStatus::no_room || refused.status == ExitStatus::refused) {
    pending_->for_room = refused.status == ExitStatus::no_room;
    pending_->retry_at = now_ + std::max(std::chrono::seconds(1), refused.retry_after);
  } else {
    say_("'" + pending_->label + "' was refused: " + printable(refused.text));
    batch_.refused(pending_->sequence);
    pending_.reset();
  }
}

void BatchClient::stop_waiting() {
  stopped_ = true;
  if (pending_ && !pending_->sent) {
    batch_.given_up(pending_->sequence);
    pending_.reset();
  }
  for (const auto& id : batch_.waiting_ids()) {
    Request request;
    request.method = "DELETE";
    request.path = task_path(id);
    // Refused only when it has ended by itself meanwhile, and then an event says so.
    http_.start(std::move(request), [](const auto&) {});
  }
}

void BatchClient::room_was_made() {
  if (pending_ && pending_->for_room) pending_->retry_at = {};
}

void BatchClient::take_event(const StreamEvent& event) {
  const auto data = parse_json(event.data);
  if (!data) return;
  const std::string id = text_field(*data, "taskId");
  if (event.type == "taskStarted" || event.type == "taskResumed") batch_.started(id);
  if (event.type == "taskPreempted" || event.type == "taskQueued") batch_.sent_back(id);
  if (event.type == "taskCompleted") batch_.ended(id, true);
  if (event.type == "taskFailed" || event.type == "taskEvicted") batch_.ended(id, false);
  if (event.type == "taskCancelled") batch_.cancelled(id);
  if (event.type.starts_with("task")) room_was_made();
}

void BatchClient::ask_for(const std::string& id) {
  ++asking_;
  Request request;
  request.path = task_path(id);
  http_.start(std::move(request), [this](Answer<Response> response) {
    --asking_;
    take_task(std::move(response));
  });
}

void BatchClient::take_task(Answer<Response> response) {
  const auto body = body_of(std::move(response));
  const auto object = body ? parse_json(*body) : failure("");
  if (!object) return;  // asked for again later; a supervisor that is gone is noticed elsewhere
  const TaskView task = decode_task(*object);
  if (!task.state) return;
  switch (*task.state) {
    case TaskState::queued:
      return batch_.sent_back(task.id);
    case TaskState::running:
    case TaskState::suspended:
      return batch_.started(task.id);
    case TaskState::completed:
      return batch_.ended(task.id, true);
    case TaskState::failed:
    case TaskState::evicted:
      return batch_.ended(task.id, false);
    case TaskState::cancelled:
      return batch_.cancelled(task.id);
  }
}

Duration BatchClient::resync_period() const {
  return events_gone_ ? asking_without_events : silence_before_asking;
}

void BatchClient::step(TimePoint now) {
  now_ = now;
  if (!arrived_.empty()) asked_at_ = now;
  for (const auto& event : std::exchange(arrived_, {})) take_event(event);
  if (!events_open_ && !events_gone_) open_events(now);
  if (asking_ == 0 && now - asked_at_ >= resync_period()) {
    asked_at_ = now;
    for (const auto& id : batch_.unfinished_ids()) ask_for(id);
  }
  if (pending_ && !pending_->sent && now >= pending_->retry_at) send_pending();
}

Duration BatchClient::patience(TimePoint now) const {
  Duration out = resync_period();
  if (pending_ && !pending_->sent) {
    out = std::min(out, std::chrono::duration_cast<Duration>(pending_->retry_at - now) + Duration(1));
  }
  return std::max(out, Duration(0));
}

}  // namespace kurultai
