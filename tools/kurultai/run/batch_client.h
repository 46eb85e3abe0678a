// Submits the commands of a run and follows them by one event stream, asking for the tasks themselves when
// the stream was lost or has been silent: a lost event then costs seconds, not the run.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "protocol/duration.h"
#include "tools/kurultai/event_stream.h"
#include "tools/kurultai/http.h"
#include "tools/kurultai/run/batch.h"

namespace kurultai {

class BatchClient {
 public:
  /// Both must outlive the client. `say` writes one line to stderr.
  BatchClient(Http& http, Batch& batch, std::function<void(const std::string&)> say)
      : http_(http), batch_(batch), say_(std::move(say)) {}

  /// Opens the event stream; nothing is submitted before it is there.
  void start(TimePoint now);
  bool ready() const { return events_gone_ || http_.opened(events_); }

  /// Hands one command over; one at a time, so that they start in the order of the input.
  void submit(std::string label, std::string body);
  bool submitting() const { return pending_.has_value(); }

  /// Gives up what is not yet accepted and cancels what waits; what runs goes on.
  void stop_waiting();

  /// Does what is due, and what the events brought. Call after every turn.
  void step(TimePoint now);
  /// When `step` has something to do at the latest.
  Duration patience(TimePoint now) const;

  /// Why the run cannot go on; empty while it can.
  const std::string& fault() const { return fault_; }

 private:
  struct Pending {
    Batch::Sequence sequence;
    std::string label, body;
    bool sent = false;
    bool for_room = false;  // refused for a full queue: an ended command makes room at once
    TimePoint retry_at{};
  };
  void open_events(TimePoint now);
  void send_pending();
  void take_answer(Answer<Response> response);
  void take_refusal(const Complaint& refused);
  void take_event(const StreamEvent& event);
  void ask_for(const std::string& id);
  void take_task(Answer<Response> response);
  void room_was_made();
  Duration resync_period() const;

  Http& http_;
  Batch& batch_;
  std::function<void(const std::string&)> say_;
  EventStream stream_;
  std::vector<StreamEvent> arrived_;
  Http::Id events_ = 0;
  bool events_open_ = false;
  bool events_gone_ = false;  // the supervisor has no event stream: asking alone has to do
  bool stopped_ = false;
  std::optional<Pending> pending_;
  int asking_ = 0;
  TimePoint now_{};
  TimePoint asked_at_{};
  std::string fault_;
};

}  // namespace kurultai
