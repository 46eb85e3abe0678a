// All publishers of the configuration. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "supervisor/publishing/publisher.h"

namespace kurultai {

class Publishers {
 public:
  /// `program` is kurultai-publisher; of `environment` it gets what is about proxies and certificates.
  Publishers(uv::Loop& loop, Events& events, std::string program,
             const std::vector<std::string>& environment);

  /// Those that a reload leaves as they are keep what waits, the next of the same name takes it over, and one
  /// that goes gets a moment for it. Not after `end`.
  void configure(const Config& config);
  void on_event(const Event& event);
  /// Of all, as Publisher::end: `ended` is called once, in a later turn.
  void end(Duration limit, std::function<void()> ended);

  /// The time for that is over.
  void hurry();

  /// What is wrong with those that do not deliver; empty: nothing.
  std::string trouble() const;
  const std::vector<std::unique_ptr<Publisher>>& all() const { return all_; }
  /// By name, since the supervisor began; also of those that a reload has taken away.
  std::map<std::string, Outbox::Counts> counts() const;

 private:
  void let_go(std::unique_ptr<Publisher> publisher, Duration limit);
  void end_if_alone();

  PublisherParts parts_;
  BreakerSettings breaker_;
  bool breaks_ = true;
  std::vector<std::unique_ptr<Publisher>> all_;
  std::vector<std::unique_ptr<Publisher>> leaving_;
  std::map<std::string, Outbox::Counts> past_;  // of those that have gone
  std::function<void()> ended_;
};

}  // namespace kurultai
