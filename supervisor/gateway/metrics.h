// Prometheus metrics: counters and histograms from events, gauges from the state at the time of the scrape.
// Every family is there from the start, at zero.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "supervisor/events.h"
#include "supervisor/gateway/exposition.h"

namespace kurultai {

class Dispatcher;
class Monitor;
class Publishers;
class Schedules;

class Metrics {
 public:
  /// Label sets are bounded: agents come from the configuration; workers are dropped when they exit; of what
  /// agents call the dispatcher knows at most `BreakerTable::most`.
  Metrics(const Dispatcher& dispatcher, const Monitor& monitor, const Schedules& schedules,
          const Publishers& publishers);
  ~Metrics();

  void on_event(const Event& event);
  /// What Controller::cpu_job found. The counter never falls, whatever that says.
  void note_worker_cpu(std::chrono::microseconds used);
  std::string text(Exposition format);

 private:
  struct Families;
  void meet_agents();
  void meet(const std::string& agent);  // what is counted of it, at zero
  void refresh();

  const Dispatcher& dispatcher_;
  const Monitor& monitor_;
  const Schedules& schedules_;
  const Publishers& publishers_;
  std::unique_ptr<Families> families_;
};

}  // namespace kurultai
