#include "governance/breaker_table.h"

#include <utility>

namespace kurultai {

CircuitBreaker* BreakerTable::get(const std::string& name, TimePoint now) {
  if (const auto known = breakers_.find(name); known != breakers_.end()) return &known->second;
  if (name.empty() || name.size() > longest_name) return nullptr;
  if (breakers_.size() >= most) {
    std::erase_if(breakers_, [&](const auto& entry) { return entry.second.may_be_forgotten(now); });
    if (breakers_.size() >= most) return nullptr;
  }
  return &breakers_.try_emplace(name, settings_).first->second;
}

void BreakerTable::give_back_all(std::string_view who) {
  for (auto& [name, breaker] : breakers_) breaker.give_back_all(who);
}

void BreakerTable::start_anew(BreakerSettings settings) {
  settings_ = std::move(settings);
  breakers_.clear();
}

}  // namespace kurultai
