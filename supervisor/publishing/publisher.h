// Tells one webhook of the supervisor's events. The requests are made by kurultai-publisher, a process of its
// own that is started with the first event: whatever the receiver does, the loop does not wait for it. What
// waits and when it is tried again is the outbox's. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "governance/outbox.h"
#include "supervisor/events.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

/// What all publishers share; the references outlive them.
struct PublisherParts {
  uv::Loop& loop;
  Events& events;
  std::string program;                   // kurultai-publisher
  std::vector<std::string> environment;  // of the program: proxies and certificates
};

class Publisher {
 public:
  Publisher(const PublisherParts& parts, PublisherConfig config, const BreakerSettings& breaker, bool breaks);
  /// It has ended, or never had an event.
  ~Publisher();

  void on_event(const Event& event);
  /// What another has not delivered comes first.
  void take_over(Publisher& other);
  /// With its circuit closed, under other rules.
  void start_anew(const BreakerSettings& breaker, bool breaks);
  /// Takes no more events, delivers those that wait as long as the receiver takes them and `limit` has not
  /// passed, and ends its process; then `ended` is called, in a later turn of the loop. Once.
  void end(Duration limit, std::function<void()> ended);

  /// The time for that is over.
  void hurry();

  /// Why events are not delivered now; empty: they are.
  std::string trouble() const;
  const Outbox& outbox() const { return outbox_; }
  const PublisherConfig& config() const { return config_; }

 private:
  enum class State : unsigned char {
    open,
    ending,    // delivers what waits
    hurrying,  // no more
    over,
  };
  struct Helper;

  void pump();
  Result<void> start_helper();
  void closed_output();
  void heard(std::string_view line);
  void finish(Outbox::Outcome outcome, std::string why);
  void tell(const std::optional<BreakerChange>& change);
  void kill_helper(std::string why);
  void bury_helper();
  void end_if_done();

  const PublisherParts& parts_;
  const PublisherConfig config_;
  Outbox outbox_;
  std::string why_;  // the latest request was not delivered
  Outbox::Outcome last_ = Outbox::Outcome::delivered;
  std::unique_ptr<Helper> helper_;
  State state_ = State::open;
  std::function<void()> ended_;
  uv::Timer pump_timer_;
  uv::Timer deadline_;    // of the request
  uv::Timer undertaker_;  // of the helper
  uv::Timer limit_;       // of the end
};

}  // namespace kurultai
