#include "worker/asked.h"

#include <algorithm>
#include <utility>

namespace kurultai {
namespace {

constexpr std::size_t remembered = 1024;

bool is_call(const std::pair<const std::int64_t, Asked>& entry) {
  return entry.second.what == Asked::What::call;
}

}  // namespace

std::int64_t AskedRequests::add(Asked asked) {
  open_.emplace(++last_, std::move(asked));
  return last_;
}

Asked* AskedRequests::find(std::int64_t id) {
  const auto found = open_.find(id);
  return found == open_.end() ? nullptr : &found->second;
}

Asked AskedRequests::take(std::int64_t id) { return std::move(open_.extract(id).mapped()); }

void AskedRequests::give_up(std::int64_t id) {
  open_.erase(id);
  given_up_.push_back(id);
  if (given_up_.size() > remembered) given_up_.pop_front();
}

bool AskedRequests::was_given_up(std::int64_t id) const {
  return std::ranges::find(given_up_, id) != given_up_.end();
}

std::optional<std::int64_t> AskedRequests::call_of_task(const std::string& task_id) const {
  const auto found = std::ranges::find_if(
      open_, [&](const auto& entry) { return is_call(entry) && entry.second.task.task_id == task_id; });
  if (found == open_.end()) return std::nullopt;
  return found->first;
}

const Asked* AskedRequests::any_call() const {
  const auto found = std::ranges::find_if(open_, is_call);
  return found == open_.end() ? nullptr : &found->second;
}

std::size_t AskedRequests::calls() const {
  return static_cast<std::size_t>(std::ranges::count_if(open_, is_call));
}

}  // namespace kurultai
