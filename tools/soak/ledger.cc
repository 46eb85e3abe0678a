#include "tools/soak/ledger.h"

#include <algorithm>

namespace kurultai::soak {
namespace {

constexpr std::size_t most_early = 1024;

double milliseconds_between(TimePoint from, TimePoint to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

}  // namespace

void Ledger::accepted(const std::string& id, Accepted task) {
  if (open_.contains(id) || closed_by_id(id) != nullptr) return;  // the same key once more: the same task
  if (ids_.contains(task.key) || closed_keys_.contains(task.key)) ++counts_.duplicated;
  ++counts_.accepted;
  ids_[task.key] = id;
  Entry entry;
  entry.heard = task.due;
  entry.task = std::move(task);
  open_.emplace(id, std::move(entry));
  take_early(id);
}

/// What was told of it before its acceptance was.
void Ledger::take_early(const std::string& id) {
  const auto at = open_.find(id);
  at->second.runs_done += static_cast<int>(std::erase(early_keys_, at->second.task.key));
  const auto early = std::ranges::find(early_, id, &Early::id);
  if (early == early_.end()) return;
  const Early taken = std::move(*early);
  early_.erase(early);
  close_entry(at, taken.ending, taken.at);
}

void Ledger::started(const std::string& id, TimePoint now) {
  const auto at = open_.find(id);
  if (at == open_.end()) return;
  at->second.heard = now;
  if (!at->second.has_started) starts_ms_.add(milliseconds_between(at->second.task.due, now));
  at->second.has_started = true;
}

void Ledger::preempted(const std::string& id, TimePoint now) {
  const auto at = open_.find(id);
  if (at == open_.end()) return;
  at->second.heard = now;
  ++at->second.restarts;
}

void Ledger::heard_of(const std::string& id, TimePoint now) {
  if (const auto at = open_.find(id); at != open_.end()) at->second.heard = now;
}

bool Ledger::ended(const std::string& id, const Ending& ending, TimePoint now) {
  if (const auto at = open_.find(id); at != open_.end()) return close_entry(at, ending, now);
  if (Closed* const closed = closed_by_id(id)) {
    if (closed->is_told && !ending.asked) ++counts_.duplicated;
    closed->is_told = closed->is_told || !ending.asked;
    return false;
  }
  early_.push_back({id, ending, now});
  if (early_.size() > most_early) early_.pop_front();
  return false;
}

bool Ledger::close_entry(std::unordered_map<std::string, Entry>::iterator at, const Ending& ending,
                         TimePoint now) {
  const Entry entry = std::move(at->second);
  const std::string id = at->first;
  open_.erase(at);
  ids_.erase(entry.task.key);
  ++counts_.ends[ending.reason.empty() ? ending.state : ending.state + ": " + ending.reason];
  bool has_failed = false;
  if (ending.state == "completed") {
    ends_ms_.add(milliseconds_between(entry.task.due, now));
  } else if (ending.state == "failed" && ending.reason == "memory_cap") {
    ++(entry.task.leaks ? counts_.capped_leaks : counts_.capped_others);
  } else if (ending.state == "failed" && !entry.is_disturbed && !entry.task.leaks &&
             ending.reason != "memory_budget") {
    has_failed = true;
    ++counts_.failed;
  }
  const std::uint64_t number = forgotten_ + closed_.size();
  closed_ids_[id] = number;
  closed_keys_[entry.task.key] = number;
  closed_.push_back({id, entry.task.key, ending.state == "completed",
                     std::max(1, ending.attempt) + entry.restarts, entry.runs_done, !ending.asked});
  if (closed_.size() <= remembered) return has_failed;
  judge(closed_.front());
  closed_ids_.erase(closed_.front().id);
  closed_keys_.erase(closed_.front().key);
  closed_.pop_front();
  ++forgotten_;
  return has_failed;
}

Ledger::Closed* Ledger::closed_by_id(const std::string& id) {
  const auto found = closed_ids_.find(id);
  return found == closed_ids_.end() ? nullptr : &closed_[found->second - forgotten_];
}

void Ledger::judge(const Closed& closed) {
  if (closed.runs_done > closed.most_runs) ++counts_.duplicated;
  if (closed.completed && closed.runs_done == 0) ++counts_.lost;
}

void Ledger::unknown(const std::string& id) {
  const auto at = open_.find(id);
  if (at == open_.end()) return;
  ++counts_.lost;
  ++counts_.ends["unknown"];
  ids_.erase(at->second.task.key);
  open_.erase(at);
}

void Ledger::disturbed(const std::string& id) {
  if (const auto at = open_.find(id); at != open_.end()) at->second.is_disturbed = true;
}

void Ledger::all_disturbed() {
  for (auto& [id, entry] : open_) entry.is_disturbed = true, ++entry.restarts;
}

void Ledger::done(std::string_view key) {
  const std::string text(key);
  if (const auto id = ids_.find(text); id != ids_.end()) {
    ++open_.at(id->second).runs_done;
  } else if (const auto closed = closed_keys_.find(text); closed != closed_keys_.end()) {
    ++closed_[closed->second - forgotten_].runs_done;
  } else {
    early_keys_.push_back(text);
    if (early_keys_.size() > most_early) early_keys_.pop_front();
  }
}

std::vector<std::string> Ledger::silent_since(TimePoint since, std::size_t at_most) const {
  std::vector<std::pair<TimePoint, std::string>> silent;
  for (const auto& [id, entry] : open_) {
    if (entry.heard < since) silent.emplace_back(entry.heard, id);
  }
  std::ranges::sort(silent);
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < std::min(at_most, silent.size()); ++i) ids.push_back(silent[i].second);
  return ids;
}

std::string Ledger::any(std::uint64_t number) const {
  if (open_.empty()) return {};
  return std::next(open_.begin(), static_cast<std::ptrdiff_t>(number % open_.size()))->first;
}

std::vector<std::string> Ledger::all() const {
  std::vector<std::string> ids;
  ids.reserve(open_.size());
  for (const auto& [id, entry] : open_) ids.push_back(id);
  return ids;
}

void Ledger::close() {
  if (!open_.empty()) counts_.ends["never ended"] += open_.size();
  counts_.lost += open_.size();
  open_.clear();
  for (const Closed& closed : closed_) judge(closed);
  closed_.clear();
  closed_ids_.clear();
  closed_keys_.clear();
}

}  // namespace kurultai::soak
