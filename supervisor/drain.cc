// The dispatcher's way to its end: refuse, wait, preempt, end the workers, tell everybody who asked.
#include <algorithm>
#include <utility>

#include "supervisor/dispatcher.h"

namespace kurultai {

void Dispatcher::drain(Duration limit, std::function<void(const DrainStatistics&)> done) {
  const TimePoint now = loop_.now();
  if (drained_) {
    if (done) done(drain_statistics_);
    return;
  }
  if (done) drain_callbacks_.push_back(std::move(done));
  if (!draining_since_) {
    draining_since_ = now;
    drain_until_ = now + limit;
    drain_statistics_.initial = runs_.size() + settling_ + queue_.depth() + queue_.returned();
    drain_statistics_.remaining = drain_statistics_.initial;
    events_.emit("drain", DrainEvent{false, drain_statistics_});
  }
  drain_until_ = std::min(drain_until_, now + limit);
  check_drained();
}

/// Results, the journal, logs, what was learned: all that is worth waiting for when nothing runs any more.
bool Dispatcher::is_writing() {
  const bool journal = journal_ != nullptr && !journal_->is_settled() && journal_->trouble().empty();
  const bool footprints = footprint_file_ != nullptr && !footprint_file_->is_settled();
  if (footprints) footprint_file_->settle([this] { check_drained(); });
  return !runs_.empty() || journal || footprints || !logs_.is_settled();
}

void Dispatcher::check_drained() {
  if (drained_) return;
  const TimePoint now = loop_.now();
  const bool out_of_time = now >= drain_until_;
  const std::size_t unfinished = runs_.size() + settling_ + queue_.depth() + queue_.returned();
  drain_statistics_.remaining = unfinished;
  drain_statistics_.completed = drain_statistics_.initial - std::min(unfinished, drain_statistics_.initial);
  drain_statistics_.duration_seconds = std::chrono::duration<double>(now - *draining_since_).count();
  if ((!runs_.empty() || settling_ > 0) && !out_of_time)
    return drain_timer_.start(std::chrono::ceil<Duration>(drain_until_ - now));
  std::vector<std::string> running;  // a run that is stopped may leave the map at once
  running.reserve(runs_.size());
  for (const auto& [id, run] : runs_) running.push_back(id);
  for (const std::string& id : running) {
    const auto run = runs_.find(id);
    if (run == runs_.end() || run->second.intent != Intent::none) continue;
    drain_ran_out_ = true;
    stop_run(run->second, Intent::preempt, "drain");
  }
  const bool all_over = std::ranges::all_of(runs_, [](const auto& entry) { return entry.second.finishing; });
  if (all_over) pool_.end_all(Duration(1000));
  if (all_over) checking_.stop();
  if (!all_over || !pool_.workers().empty() || !checking_.is_quiet()) return;
  // A disk may hang in the kernel. Whose result or end is not on it by then runs again, as after a kill.
  if (is_writing() && now < drain_until_ + last_writes) return drain_timer_.start(Duration(10));
  drained_ = true;
  drain_statistics_.status = drain_ran_out_ && unfinished > 0 ? "timed_out" : "completed";
  events_.emit("drain", DrainEvent{true, drain_statistics_});
  for (const auto& done : std::exchange(drain_callbacks_, {})) done(drain_statistics_);
  if (on_drained_) on_drained_();
}

}  // namespace kurultai
