// The breakers of what agents call, by the names that agents give. Those can be without end, so only the
// short ones are kept, and only so many at once, of one agent a quarter of them: when there is no room, those
// go that say nothing any more. Pure; not thread-safe.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "governance/circuit_breaker.h"

namespace kurultai {

class BreakerTable {
 public:
  static constexpr std::size_t most = 256;
  static constexpr std::size_t most_of_one = 64;    // that one agent was the first to call
  static constexpr std::size_t longest_name = 128;  // bytes

  explicit BreakerTable(BreakerSettings settings) : settings_(std::move(settings)) {}

  /// The one of this name, made if need be for `agent`. nullptr: there is no room for it, so its calls go
  /// through and are not counted. Valid until the next call.
  CircuitBreaker* get(const std::string& name, const std::string& agent, TimePoint now);
  /// Probes of a worker that is gone.
  void give_back_all(std::string_view who);
  /// Closes all, under other rules.
  void start_anew(BreakerSettings settings);
  const std::map<std::string, CircuitBreaker>& all() const { return breakers_; }

 private:
  std::size_t names_of(const std::string& agent) const;
  void forget_old(TimePoint now);

  BreakerSettings settings_;
  std::map<std::string, CircuitBreaker> breakers_;
  std::map<std::string, std::string> first_;  // of each name, who was the first to call it
};

}  // namespace kurultai
