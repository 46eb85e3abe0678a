// Tasks that come again and again: submits those of the configuration when they are due, as any client would.
// What was missed is counted and not made up for. One timer for all of them. Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "config/config.h"
#include "governance/schedule.h"
#include "supervisor/dispatcher.h"
#include "supervisor/events.h"
#include "supervisor/uv/loop.h"

namespace kurultai {

class Schedules {
 public:
  struct Entry {
    ScheduleConfig config;
    std::optional<Cron> cron;  // else `every`
    Schedule state;
    TimePoint due = {};                       // of `every`, without its jitter
    WallTime cron_due = {};                   // of cron
    std::optional<CalendarMinute> past = {};  // the latest of cron that was due: it comes only once
    Duration late{0};                         // the jitter of the next
    std::string task_id = {};                 // the latest
    std::optional<WallTime> started_at = {};
    std::uint64_t started = 0;
    bool is_told = false;      // that it cannot start just now: said once in a row
    std::string refusal = {};  // of the latest that was submitted
    bool is_owed = false;      // what it waited for has ended: it is submitted in the next turn
  };

  /// Of all moments since the supervisor began, those of schedules that a reload has taken away too.
  struct Totals {
    std::uint64_t started = 0;
    std::uint64_t missed = 0;
    std::uint64_t refused = 0;
  };

  Schedules(uv::Loop& loop, Dispatcher& dispatcher);

  /// Begins, or begins anew with what a reload has changed. Tasks of an earlier supervisor that have not
  /// ended count as running.
  void configure(const Config& config);
  void on_event(const Event& event);
  void stop() { timer_.stop(); }

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const Totals& totals() const { return totals_; }
  /// Why the latest task of a schedule was refused; empty: none was.
  std::string trouble() const;
  /// When it comes next, jitter included.
  WallTime next_of(const Entry& entry) const;

 private:
  Entry make_entry(const ScheduleConfig& config);
  void adopt_running();
  void look();
  void look_at(Entry& entry);
  void set_next(Entry& entry);
  std::uint64_t pass_due(Entry& entry);
  bool is_due(const Entry& entry) const;
  void act(Entry& entry, Schedule::Act what);
  void submit(Entry& entry);
  void answered(const std::string& name, const std::expected<const Task*, Refusal>& answer);
  Duration wait_for(const Entry& entry) const;
  void arm();

  uv::Loop& loop_;
  Dispatcher& dispatcher_;
  std::map<std::string, Entry> entries_;
  Totals totals_;
  std::minstd_rand dice_{std::random_device{}()};
  uv::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kurultai
