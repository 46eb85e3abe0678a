#include "supervisor/store/task_table.h"

#include <sys/random.h>

#include <iterator>

namespace kurultai {

namespace {

constexpr std::string_view alphabet = "0123456789abcdefghjkmnpqrstvwxyz";  // Crockford's: no i, l, o, u
constexpr int time_digits = 9;

void append_base32(std::string& text, std::uint64_t value, int digits) {
  for (int shift = (digits - 1) * 5; shift >= 0; shift -= 5) text += alphabet[(value >> shift) & 31];
}

/// The milliseconds in an id; 0 for what is none of ours.
std::uint64_t milliseconds_of(std::string_view id) {
  std::uint64_t value = 0;
  for (const char digit : id.substr(0, time_digits)) {
    const std::size_t at = alphabet.find(digit);
    if (at == std::string_view::npos) return 0;
    value = value << 5 | at;
  }
  return value;
}

std::string key_of(const std::string& agent, const std::string& key) { return agent + '\0' + key; }

std::int64_t held_bytes(const Task& task) {
  const std::size_t error = task.error ? task.error->message.size() + task.error->stack.size() : 0;
  std::size_t receipts = 0;
  for (const TaskReceipt& one : task.receipts) {
    receipts += sizeof(Receipt) + one.text.size();
    if (one.receipt == nullptr) continue;
    receipts += one.receipt->running.size() * sizeof(Candidate) + one.receipt->memory.size() * sizeof(UsedAt);
  }
  return static_cast<std::int64_t>(sizeof(Task) + receipts + task.past.kept.size() * sizeof(Transition) +
                                   task.payload.size() + task.message.size() + error +
                                   task.result.inline_json.size());
}

}  // namespace

TaskTable::TaskTable(Retention retention, std::function<void(const Task&)> dropped)
    : retention_(retention), dropped_(std::move(dropped)) {}

/// The kernel's, taken for many ids at once: asking costs a system call.
std::uint64_t TaskTable::random_bits() {
  if (random_left_ == 0) {
    // Up to 256 bytes do not fail or stop short once the system's pool is ready (getrandom(2)).
    static_assert(sizeof(random_) <= 256);
    [[maybe_unused]] const auto count = ::getrandom(random_.data(), sizeof(random_), 0);
    random_left_ = random_.size();
  }
  return random_[--random_left_];
}

std::string TaskTable::new_id(WallTime now) {
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  // Ids must sort in the order of submission, also inside one millisecond and when the clock steps back.
  const auto milliseconds =
      std::max<std::uint64_t>(static_cast<std::uint64_t>(since) & ((1ULL << 45) - 1), last_id_);
  last_id_ = milliseconds + 1;
  std::string id;
  append_base32(id, milliseconds, time_digits);
  append_base32(id, random_bits(), 7);
  return id;
}

Task& TaskTable::add(Task task, WallTime now) {
  task.id = new_id(now);
  return keep(std::move(task));
}

Task& TaskTable::restore(Task task) {
  last_id_ = std::max(last_id_, milliseconds_of(task.id) + 1);
  return keep(std::move(task));
}

Task& TaskTable::keep(Task task) {
  if (!task.idempotency_key.empty()) keys_[key_of(task.agent, task.idempotency_key)] = task.id;
  auto owned = std::make_unique<Task>(std::move(task));
  Task& added = *owned;
  tasks_.emplace(added.id, std::move(owned));
  return added;
}

void TaskTable::withdraw(const std::string& id) {
  const auto found = tasks_.find(id);
  forget_key(*found->second);
  tasks_.erase(found);
}

void TaskTable::forget_key(const Task& task) {
  const auto key = keys_.find(key_of(task.agent, task.idempotency_key));
  if (key != keys_.end() && key->second == task.id) keys_.erase(key);
}

Task* TaskTable::find(const std::string& id) {
  const auto found = tasks_.find(id);
  return found == tasks_.end() ? nullptr : found->second.get();
}

const Task* TaskTable::find(const std::string& id) const {
  const auto found = tasks_.find(id);
  return found == tasks_.end() ? nullptr : found->second.get();
}

const Task* TaskTable::find_key(const std::string& agent, const std::string& key) const {
  const auto found = keys_.find(key_of(agent, key));
  return found == keys_.end() ? nullptr : find(found->second);
}

void TaskTable::finished(const Task& task, WallTime now) {
  const std::int64_t bytes = held_bytes(task);
  const std::int64_t spooled = task.log_bytes + (task.result.file.empty() ? 0 : task.result.bytes);
  finished_bytes_ += bytes;
  finished_spooled_ += spooled;
  finished_.push_back({&task, now, bytes, spooled});
  shrink();
}

void TaskTable::set_retention(Retention retention) {
  retention_ = retention;
  shrink();
}

/// The newest always stays: whoever waits for it still has to read it.
void TaskTable::shrink() {
  while (finished_.size() > 1 &&
         (finished_.size() > retention_.max_finished || finished_bytes_ > retention_.max_bytes.count ||
          finished_spooled_ > retention_.max_spooled.count)) {
    drop_oldest();
  }
}

void TaskTable::expire(WallTime now) {
  while (!finished_.empty() && finished_.front().at + retention_.age < now) drop_oldest();
}

void TaskTable::drop_oldest() {
  const Finished oldest = finished_.front();
  finished_.pop_front();
  finished_bytes_ -= oldest.bytes;
  finished_spooled_ -= oldest.spooled;
  dropped_(*oldest.task);
  forget_key(*oldest.task);
  tasks_.erase(tasks_.find(oldest.task->id));
}

std::vector<const Task*> TaskTable::list(const std::string& after, std::size_t limit,
                                         const std::function<bool(const Task&)>& wanted, Order order) const {
  std::vector<const Task*> found;
  const auto take = [&](auto at, const auto& end) {
    for (; at != end && found.size() < limit; ++at) {
      if (wanted(*at->second)) found.push_back(at->second.get());
    }
  };
  if (order == Order::oldest_first) {
    take(after.empty() ? tasks_.begin() : tasks_.upper_bound(after), tasks_.end());
  } else {
    const auto behind = after.empty() ? tasks_.end() : tasks_.lower_bound(after);
    take(std::make_reverse_iterator(behind), tasks_.rend());
  }
  return found;
}

}  // namespace kurultai
