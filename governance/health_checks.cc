#include "governance/health_checks.h"

#include <algorithm>
#include <cmath>

namespace kurultai {

std::string_view to_string(HealthStatus status) {
  switch (status) {
    case HealthStatus::unknown:
      return "unknown";
    case HealthStatus::healthy:
      return "healthy";
    case HealthStatus::suspect:
      return "suspect";
    case HealthStatus::unhealthy:
      return "unhealthy";
  }
  return "";
}

std::string_view to_string(HealthStrategy strategy) {
  switch (strategy) {
    case HealthStrategy::passive:
      return "passive";
    case HealthStrategy::ping:
      return "ping";
    case HealthStrategy::command:
      return "command";
  }
  return "";
}

void HealthChecks::watch(const std::string& worker, const HealthRule& rule, TimePoint now) {
  forget(worker);
  if (rule.strategy == HealthStrategy::passive) return;
  // Steps of the golden ratio fill an interval evenly, however many come and go.
  static constexpr double golden = 0.6180339887498949;
  place_ = std::fmod(place_ + golden, 1);
  Watched& watched = watched_[worker];
  watched.rule = rule;
  const auto whole = std::chrono::duration_cast<TimePoint::duration>(rule.interval).count();
  const auto part = static_cast<TimePoint::rep>(place_ * static_cast<double>(whole));
  watched.slot = now + TimePoint::duration(part);
  put(worker, watched, watched.slot);
}

void HealthChecks::forget(const std::string& worker) {
  const auto found = watched_.find(worker);
  if (found == watched_.end()) return;
  take(worker, found->second);
  watched_.erase(found);
}

void HealthChecks::put(const std::string& worker, Watched& watched, TimePoint when) {
  take(worker, watched);
  watched.agenda = when;
  agenda_.emplace(when, worker);
}

void HealthChecks::take(const std::string& worker, Watched& watched) {
  if (watched.agenda) agenda_.erase({*watched.agenda, worker});
  watched.agenda.reset();
}

/// Turns that have gone by are not made up for, and who is late does not leave his place: all would come to
/// be due at once.
void HealthChecks::put_next(const std::string& worker, Watched& watched, TimePoint now) {
  watched.began.reset();
  if (now >= watched.slot) {
    const auto turns = (now - watched.slot) / watched.rule.interval + 1;
    watched.slot += turns * watched.rule.interval;
  }
  put(worker, watched, watched.slot);
}

std::vector<HealthChecks::Due> HealthChecks::take_due(TimePoint now, std::size_t most) {
  std::vector<Due> due;
  while (!agenda_.empty() && agenda_.begin()->first <= now && due.size() < most) {
    const std::string worker = agenda_.begin()->second;
    Watched& watched = watched_.at(worker);
    take(worker, watched);
    due.push_back({worker, watched.began ? std::optional(watched.check) : std::nullopt});
  }
  return due;
}

TimePoint HealthChecks::next() const { return agenda_.empty() ? TimePoint::max() : agenda_.begin()->first; }

std::uint64_t HealthChecks::begin(const std::string& worker, TimePoint now) {
  Watched& watched = watched_.at(worker);
  watched.began = now;
  watched.check = ++checks_;
  put(worker, watched, now + watched.rule.timeout);
  return watched.check;
}

void HealthChecks::skip(const std::string& worker, TimePoint now) {
  const auto found = watched_.find(worker);
  if (found != watched_.end()) put_next(worker, found->second, now);
}

HealthChecks::Watched* HealthChecks::answering(const std::string& worker, std::uint64_t check) {
  const auto found = watched_.find(worker);
  const bool good = found != watched_.end() && found->second.began && found->second.check == check;
  return good ? &found->second : nullptr;
}

void HealthChecks::enter(WorkerHealth& health, HealthStatus status, TimePoint now) {
  if (health.status != status) health.since = now;
  health.status = status;
}

bool HealthChecks::passed(const std::string& worker, std::uint64_t check, TimePoint now) {
  Watched* watched = answering(worker, check);
  if (watched == nullptr) return false;
  WorkerHealth& health = watched->health;
  health.checked = now;
  health.took = now - *watched->began;
  health.failures = 0;
  health.reason.clear();
  enter(health, HealthStatus::healthy, now);
  put_next(worker, *watched, now);
  return true;
}

bool HealthChecks::failed(const std::string& worker, std::uint64_t check, TimePoint now, std::string reason) {
  Watched* watched = answering(worker, check);
  if (watched == nullptr) return false;
  WorkerHealth& health = watched->health;
  health.checked = now;
  health.took = now - *watched->began;
  health.failures += 1;
  health.reason = std::move(reason);
  const bool is_over = health.failures >= watched->rule.failures;
  enter(health, is_over ? HealthStatus::unhealthy : HealthStatus::suspect, now);
  put_next(worker, *watched, now);
  return true;
}

void HealthChecks::seen_well(const std::string& worker, TimePoint when, TimePoint now) {
  const auto found = watched_.find(worker);
  if (found == watched_.end()) return;
  WorkerHealth& health = found->second.health;
  health.checked = std::max(when, health.checked.value_or(when));
  health.took = {};
  health.failures = 0;
  health.reason.clear();
  enter(health, HealthStatus::healthy, when);
  put_next(worker, found->second, now);
}

std::optional<TimePoint> HealthChecks::under_way(const std::string& worker) const {
  const auto found = watched_.find(worker);
  return found == watched_.end() ? std::nullopt : found->second.began;
}

const WorkerHealth* HealthChecks::find(const std::string& worker) const {
  const auto found = watched_.find(worker);
  return found == watched_.end() ? nullptr : &found->second.health;
}

WorkerHealth health_by_progress(TimePoint began, TimePoint progress, Duration stall_timeout, TimePoint now) {
  const TimePoint suspect_from = progress + stall_timeout / 2;
  WorkerHealth health;
  health.checked = progress;
  if (now < suspect_from) {
    health.status = HealthStatus::healthy;
    health.since = began;
    return health;
  }
  health.status = HealthStatus::suspect;
  health.since = suspect_from;
  health.reason = "no progress for " + to_string(std::chrono::floor<std::chrono::seconds>(now - progress));
  return health;
}

}  // namespace kurultai
