#include "governance/exhaustion.h"

#include <algorithm>
#include <chrono>

#include "governance/governor.h"

namespace kurultai {
namespace {

constexpr int reach = 3;              // growth is carried on for one part in so many of what it lasted
constexpr double close_below = 0.05;  // of the budget, below the preempt threshold

bool is_leaving(const Candidate& task, TimePoint now) { return task.back_by && now < *task.back_by; }

/// Whole bytes: the same in whatever order they are added up.
Bytes grows_by(const Candidate& task, Duration ahead) {
  const Duration known = std::min(ahead, task.growth.lasted / reach);
  if (known <= Duration(0)) return {};
  const double bytes =
      static_cast<double>(task.growth.per_second.count) * std::chrono::duration<double>(known).count();
  const double room = static_cast<double>(std::max(task.most - task.memory, Bytes{}).count);
  return {static_cast<std::int64_t>(std::min(bytes, room))};
}

Bytes growth_of_all(const Situation& situation, TimePoint now) {
  Bytes sum;
  for (const Candidate& task : situation.running) {
    if (!is_leaving(task, now) && grows_by(task, Duration(1000)) > Bytes{}) sum += task.growth.per_second;
  }
  return sum;
}

Bytes line_of(const Situation& situation, const Thresholds& thresholds) {
  return share_of(situation.budget, thresholds.at(Threshold::kill));
}

/// The line is reached within `most`.
Duration time_left(const Situation& situation, Bytes line, Duration most, TimePoint now) {
  Duration early{-1};
  while (most - early > Duration(1)) {
    const Duration middle = early + (most - early) / 2;
    (used_ahead(situation, middle, now) >= line ? most : early) = middle;
  }
  return most;
}

}  // namespace

Bytes used_ahead(const Situation& situation, Duration ahead, TimePoint now) {
  Bytes used = situation.used - situation.ending;
  for (const Candidate& task : situation.running) {
    if (is_leaving(task, now)) {
      used -= task.memory;
    } else {
      used += grows_by(task, ahead);
    }
  }
  return used;
}

bool may_run_out(const Situation& situation, const Thresholds& thresholds, TimePoint now) {
  if (!situation.time_to_act) return false;
  const double near = thresholds.at(Threshold::preempt) - close_below;
  if (situation.used >= share_of(situation.budget, near)) return false;
  Duration longest{0};
  for (const Candidate& task : situation.running) longest = std::max(longest, task.grace);
  return used_ahead(situation, *situation.time_to_act + longest, now) >= line_of(situation, thresholds);
}

std::optional<Foresight> foresee(const Situation& situation, const Thresholds& thresholds, TimePoint now) {
  if (!may_run_out(situation, thresholds, now)) return std::nullopt;
  const Bytes line = line_of(situation, thresholds);
  const auto ranked = rank_victims(situation.running, false);
  const Duration grace = ranked.empty() ? Duration(0) : ranked.front()->grace;
  const Duration needed = *situation.time_to_act + grace;
  const Bytes used = used_ahead(situation, needed, now);
  if (used < line) return std::nullopt;
  Foresight seen{
      {growth_of_all(situation, now), time_left(situation, line, needed, now), *situation.time_to_act, grace},
      {}};
  Bytes over = used - situation.idle - line;
  for (const Candidate* victim : ranked) {
    // Nobody of a higher level leaves in his place.
    if (over < Bytes{} || !victim->may_leave_early) break;
    seen.victims.push_back(victim);
    over -= victim->memory + grows_by(*victim, needed);
  }
  if (seen.victims.empty() && situation.idle <= Bytes{}) return std::nullopt;
  return seen;
}

void TimeToAct::note(Duration reaction, Duration grace) {
  beyond_[count_++ % most] = std::max(reaction - grace, Duration(0));
}

Duration TimeToAct::value() const {
  constexpr Duration unknown{1000};
  constexpr Duration least{100};  // so late a reading may be
  if (count_ == 0) return unknown;
  return std::max(least, *std::ranges::max_element(beyond_));
}

void Predictions::made(const Foresight& seen, Bytes idle, TimePoint now) {
  if (!open_) {
    const Duration left = seen.prediction.left;
    open_ = {now + left, now + 2 * left, {}, seen.prediction.growth_per_second, {}, {}};
  }
  open_->idle += idle;
  open_->to_be_freed += idle;
  const std::size_t known = open_->victims.size();
  for (const Candidate* victim : seen.victims) {
    const auto end = open_->victims.begin() + static_cast<std::ptrdiff_t>(known);
    const auto same =
        std::ranges::lower_bound(open_->victims.begin(), end, victim->task_id, {}, &Victim::task_id);
    if (same != end && same->task_id == victim->task_id) continue;  // it did not go
    const Bytes growth = victim->growth.lasted > Duration(0) ? victim->growth.per_second : Bytes{};
    open_->victims.push_back({victim->task_id, victim->memory, growth});
    open_->to_be_freed += victim->memory;
  }
  std::ranges::sort(open_->victims, {}, &Victim::task_id);
}

/// Who was asked may have stayed, or be back with less.
Predictions::Gone Predictions::gone(const Open& open, const Situation& situation) {
  Gone all{open.idle, {}};
  for (const Victim& victim : open.victims) {
    all.memory += victim.memory;
    all.growth += victim.growth;
  }
  for (const Candidate& task : situation.running) {
    const auto victim = std::ranges::lower_bound(open.victims, task.task_id, {}, &Victim::task_id);
    if (victim == open.victims.end() || victim->task_id != task.task_id) continue;
    all.memory -= std::min(task.memory, victim->memory);
    if (task.memory >= victim->memory) all.growth -= victim->growth;
  }
  return all;
}

void Predictions::note(const Situation& situation, Bytes line, TimePoint now) {
  if (!open_ || (situation.used < line && now < open_->judged_at)) return;
  const Gone missing = gone(*open_, situation);
  if (situation.used >= line || situation.used + missing.memory >= line) {
    ++counts_.come_true;
  } else if (2 * missing.growth.count > open_->growth.count) {
    ++counts_.averted;
  } else {
    ++counts_.false_alarms;
  }
  open_.reset();
}

}  // namespace kurultai
