#include "governance/breaker_table.h"

#include <algorithm>
#include <utility>

namespace kurultai {

CircuitBreaker* BreakerTable::get(const std::string& name, const std::string& agent, TimePoint now) {
  if (const auto known = breakers_.find(name); known != breakers_.end()) return &known->second;
  if (name.empty() || name.size() > longest_name) return nullptr;
  const auto has_room = [&] { return breakers_.size() < most && names_of(agent) < most_of_one; };
  if (!has_room()) forget_old(now);
  if (!has_room()) return nullptr;
  first_[name] = agent;
  return &breakers_.try_emplace(name, settings_).first->second;
}

std::size_t BreakerTable::names_of(const std::string& agent) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(first_, [&](const auto& entry) { return entry.second == agent; }));
}

void BreakerTable::forget_old(TimePoint now) {
  std::erase_if(breakers_, [&](const auto& entry) { return entry.second.may_be_forgotten(now); });
  std::erase_if(first_, [&](const auto& entry) { return !breakers_.contains(entry.first); });
}

void BreakerTable::give_back_all(std::string_view who) {
  for (auto& [name, breaker] : breakers_) breaker.give_back_all(who);
}

void BreakerTable::start_anew(BreakerSettings settings) {
  settings_ = std::move(settings);
  breakers_.clear();
  first_.clear();
}

}  // namespace kurultai
