#include "tests/simulation/disk.h"

#include <iterator>
#include <utility>

namespace kurultai::simulation {

namespace {

constexpr Duration longest_commit{30};
constexpr Duration retry_pause{1000};

}  // namespace

const TaskState* Disk::state_of(const std::string& task_id) const {
  const auto found = rows_.find(task_id);
  return found == rows_.end() ? nullptr : &found->second;
}

void Disk::accept(const Task& task, const std::vector<const Task*>& evicted,
                  std::function<void(Result<void>)> done) {
  if (!trouble_.empty()) {
    loop_.schedule.after(Duration(0), [done = std::move(done), why = trouble_] { done(failure(why)); });
    return;
  }
  Change change{{row_of(task)}, std::move(done), {}};
  for (const Task* one : evicted) change.rows.push_back(row_of(*one));
  put(std::move(change));
}

void Disk::change(const Task& task, std::function<void()> done) {
  put({{row_of(task)}, {}, std::move(done)});
}

void Disk::put(Change change) {
  waiting_.push_back(std::move(change));
  if (!is_writing_ && trouble_.empty()) write();
}

void Disk::write() {
  is_writing_ = true;
  const Duration takes(dice_.skewed(0, longest_commit.count()));
  loop_.schedule.after(takes,
                       [this, guard = std::weak_ptr(alive_), batch = std::exchange(waiting_, {})]() mutable {
                         if (guard.expired()) return;
                         const bool fails = fails_ && dice_.one_in(trouble_.empty() ? 400 : 3);
                         if (fails) {
                           failed(std::move(batch));
                         } else {
                           written(batch);
                         }
                       });
}

void Disk::written(const std::vector<Change>& batch) {
  trouble_.clear();
  for (const Change& change : batch) land(change);
  const std::weak_ptr guard(alive_);
  for (const Change& change : batch) {
    if (guard.expired()) return;
    if (change.accepted) change.accepted({});
    if (change.done) change.done();
  }
  if (guard.expired()) return;
  is_writing_ = false;
  if (!waiting_.empty()) write();
}

void Disk::land(const Change& change) {
  for (const Row& row : change.rows) {
    if (row.removed) {
      rows_.erase(row.id);
    } else {
      rows_[row.id] = row.state;
    }
  }
}

// Whether it is there all the same nobody knows: half of the time it is.
void Disk::failed(std::vector<Change> batch) {
  trouble_ = "the disk: simulated";
  const bool landed = dice_.one_in(2);
  std::vector<Change> again;
  std::vector<std::function<void(Result<void>)>> refused;
  for (Change& change : batch) {
    if (landed) land(change);
    if (change.accepted) {
      refused.push_back(std::move(change.accepted));
      again.push_back({{{change.rows.front().id, {}, true}}, {}, {}});
    } else {
      again.push_back(std::move(change));
    }
  }
  std::ranges::move(waiting_, std::back_inserter(again));
  waiting_ = std::move(again);
  for (const auto& answer : refused) answer(failure(trouble_));
  is_writing_ = false;
  loop_.schedule.after(retry_pause, [this, guard = std::weak_ptr(alive_)] {
    if (!guard.expired() && !is_writing_) write();
  });
}

}  // namespace kurultai::simulation
