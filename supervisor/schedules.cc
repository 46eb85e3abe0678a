#include "supervisor/schedules.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "supervisor/event_log.h"

namespace kurultai {
namespace {

// Times of day are on a clock that people set: it is looked at again at least so often.
constexpr Duration clock_check{std::chrono::seconds(30)};
// After a jump of the clock by years nobody counts on.
constexpr std::uint64_t most_counted = 1000;
// A clock that was set back by less repeats an hour, as at the end of summer, and nothing comes twice.
constexpr auto largest_repeat = std::chrono::hours(3);

constexpr std::string_view key_start = "schedule:";

CalendarMinute calendar_of(WallTime time) {
  const std::time_t seconds = WallTime::clock::to_time_t(time);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  return {local.tm_year + 1900, static_cast<unsigned>(local.tm_mon + 1), static_cast<unsigned>(local.tm_mday),
          static_cast<unsigned>(local.tm_hour), static_cast<unsigned>(local.tm_min)};
}

/// A minute that summer time leaves out is the one an hour later.
WallTime time_of(const CalendarMinute& minute) {
  std::tm local{};
  local.tm_year = minute.year - 1900;
  local.tm_mon = static_cast<int>(minute.month) - 1;
  local.tm_mday = static_cast<int>(minute.day);
  local.tm_hour = static_cast<int>(minute.hour);
  local.tm_min = static_cast<int>(minute.minute);
  local.tm_isdst = -1;
  return WallTime::clock::from_time_t(::mktime(&local));
}

/// `schedule:NAME:MOMENT` is the key of its tasks; empty: it is none's.
std::string name_in(std::string_view key) {
  if (!key.starts_with(key_start)) return {};
  key.remove_prefix(key_start.size());
  return std::string(key.substr(0, key.find(':')));
}

bool is_same_time(const ScheduleConfig& a, const ScheduleConfig& b) {
  return a.every == b.every && a.cron == b.cron && a.overlap == b.overlap && a.agent == b.agent;
}

bool is_end(TaskEvent::Kind kind) {
  return kind == TaskEvent::Kind::completed || kind == TaskEvent::Kind::failed ||
         kind == TaskEvent::Kind::cancelled || kind == TaskEvent::Kind::evicted;
}

}  // namespace

Schedules::Schedules(uv::Loop& loop, Dispatcher& dispatcher)
    : loop_(loop), dispatcher_(dispatcher), timer_(loop, [this] { look(); }) {}

Schedules::Entry Schedules::make_entry(const ScheduleConfig& config) {
  Entry entry{.config = config, .cron = {}, .state = Schedule(config.overlap)};
  if (auto cron = Cron::parse(config.cron)) entry.cron = *std::move(cron);
  entry.due = loop_.now() + config.every;
  set_next(entry);
  return entry;
}

void Schedules::configure(const Config& config) {
  auto before = std::exchange(entries_, {});
  for (const ScheduleConfig& schedule : config.schedules) {
    const auto known = before.find(schedule.name);
    if (known == before.end() || !is_same_time(known->second.config, schedule)) {
      entries_.emplace(schedule.name, make_entry(schedule));
    } else {
      known->second.config = schedule;
      entries_.insert(before.extract(known));
    }
  }
  adopt_running();
  arm();
}

void Schedules::adopt_running() {
  if (entries_.empty()) return;
  const auto runs_on = [](const Task& task) {
    return !is_final(task.state) && task.idempotency_key.starts_with(key_start);
  };
  for (const Task* task : dispatcher_.tasks().list("", dispatcher_.tasks().size(), runs_on)) {
    const auto found = entries_.find(name_in(task->idempotency_key));
    if (found == entries_.end()) continue;
    found->second.state.started();
    found->second.task_id = task->id;
  }
}

/// The moment behind the one that was due, and its jitter.
void Schedules::set_next(Entry& entry) {
  const auto jitter = entry.config.jitter.count();
  entry.late = Duration(jitter == 0 ? 0 : std::uniform_int_distribution<std::int64_t>(0, jitter)(dice_));
  if (!entry.cron) return;
  const WallTime now = loop_.wall_now();
  if (entry.past && time_of(*entry.past) > now + largest_repeat) entry.past.reset();
  const CalendarMinute today = calendar_of(now);
  entry.cron_due = time_of(entry.cron->next(entry.past ? std::max(*entry.past, today) : today));
}

bool Schedules::is_due(const Entry& entry) const {
  if (entry.cron) return loop_.wall_now() >= entry.cron_due + entry.late;
  return loop_.now() >= entry.due + entry.late;
}

/// Goes on to the next moment; how many have gone by besides.
std::uint64_t Schedules::pass_due(Entry& entry) {
  if (!entry.cron) {
    const NextMoment next = next_moment(entry.due, entry.config.every, loop_.now());
    entry.due = next.at;
    set_next(entry);
    return next.missed;
  }
  const WallTime now = loop_.wall_now();
  entry.past = calendar_of(entry.cron_due);
  std::uint64_t missed = 0;
  for (; missed < most_counted; ++missed) {
    const CalendarMinute next = entry.cron->next(*entry.past);
    if (time_of(next) > now) break;
    entry.past = next;
  }
  set_next(entry);
  return missed;
}

void Schedules::look() {
  for (auto& [name, entry] : entries_) look_at(entry);
  arm();
}

void Schedules::look_at(Entry& entry) {
  if (dispatcher_.is_draining()) return;
  if (std::exchange(entry.is_owed, false)) submit(entry);
  if (is_due(entry)) {
    const std::uint64_t missed = pass_due(entry);
    const std::uint64_t before = entry.state.missed();
    const Schedule::Act what = entry.state.due(missed);
    totals_.missed += entry.state.missed() - before;
    if (what == Schedule::Act::nothing && !std::exchange(entry.is_told, true))
      log_info("schedule " + entry.config.name + ": due while task " + entry.task_id + " has not ended");
    act(entry, what);
  } else if (entry.cron) {
    const Duration late = entry.late;  // the clock may have been set; the dice are not thrown again
    set_next(entry);
    entry.late = late;
  }
}

void Schedules::act(Entry& entry, Schedule::Act what) {
  if (what == Schedule::Act::submit) submit(entry);
  if (what == Schedule::Act::cancel)
    dispatcher_.cancel(entry.task_id, "replaced by the next of schedule " + entry.config.name);
}

void Schedules::submit(Entry& entry) {
  const ScheduleConfig& config = entry.config;
  Submission submission;
  submission.agent = config.agent;
  submission.payload = config.payload == "null" ? JsonText() : JsonText(config.payload);
  submission.priority = config.priority;
  if (config.timeout.count() > 0) submission.timeout = config.timeout;
  submission.idempotency_key = std::string(key_start) + config.name + ":" + to_rfc3339(loop_.wall_now());
  entry.state.started();  // from now on: the answer may have to wait for the disk
  dispatcher_.submit(std::move(submission),
                     [this, name = config.name, alive = std::weak_ptr<bool>(alive_)](const auto& answer) {
                       if (!alive.expired()) answered(name, answer);
                     });
}

void Schedules::answered(const std::string& name, const std::expected<const Task*, Refusal>& answer) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (!answer) {
    entry.state.ended();  // who waits behind it waits for the next moment
    entry.state.refused();
    ++totals_.refused;
    entry.refusal = answer.error().message;
    if (!std::exchange(entry.is_told, true))
      log_warning("schedule " + name + ": refused: " + answer.error().message);
    return;
  }
  entry.task_id = (*answer)->id;
  entry.started_at = loop_.wall_now();
  ++entry.started;
  ++totals_.started;
  entry.is_told = false;
  entry.refusal.clear();
  if (is_final((*answer)->state)) entry.state.ended();
}

std::string Schedules::trouble() const {
  for (const auto& [name, entry] : entries_) {
    if (!entry.refusal.empty()) return name + ": " + entry.refusal;
  }
  return {};
}

/// Acts in a turn of its own: the dispatcher is still in the middle of things.
void Schedules::on_event(const Event& event) {
  const auto* told = std::get_if<TaskEvent>(&event.body);
  if (told == nullptr || !is_end(told->kind)) return;
  const std::string name = name_in(told->task.idempotency_key);
  const auto found = name.empty() ? entries_.end() : entries_.find(name);
  if (found == entries_.end() || found->second.task_id != told->task.id) return;
  if (found->second.state.ended() != Schedule::Act::submit) return;
  found->second.is_owed = true;
  timer_.start(Duration(0));
}

WallTime Schedules::next_of(const Entry& entry) const {
  if (entry.cron) return entry.cron_due + entry.late;
  return loop_.wall_now() + std::chrono::duration_cast<Duration>(entry.due + entry.late - loop_.now());
}

Duration Schedules::wait_for(const Entry& entry) const {
  if (entry.cron) {
    const auto left = std::chrono::ceil<Duration>(entry.cron_due + entry.late - loop_.wall_now());
    return std::clamp(left, Duration(0), clock_check);
  }
  return std::max(Duration(0), std::chrono::ceil<Duration>(entry.due + entry.late - loop_.now()));
}

void Schedules::arm() {
  std::optional<Duration> soonest;
  for (const auto& [name, entry] : entries_)
    soonest = std::min(soonest.value_or(Duration::max()), wait_for(entry));
  if (soonest && !dispatcher_.is_draining()) timer_.start(*soonest);
}

}  // namespace kurultai
