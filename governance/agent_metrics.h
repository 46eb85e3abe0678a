// What agents tell of themselves (METRIC), by agent and name: a gauge is the last value, a counter the sum of
// all values, whichever of the agent's workers said them. Pure. Names are bounded in number and form, because
// each becomes a series in whatever scrapes the supervisor.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "protocol/messages.h"

namespace kurultai {

class AgentMetrics {
 public:
  static constexpr std::size_t most_names = 32;  // of one agent
  static constexpr std::size_t longest_name = 64;

  struct Value {
    Metric::Kind kind;
    double value;
  };
  struct OfAgent {
    std::map<std::string, Value> values;
    std::uint64_t refused = 0;
  };

  /// Refused and counted are: a name of another form than `is_good_name` or beyond `most_names`, one that was
  /// of the other kind before, a counter that would fall, and what is no finite number.
  void note(const std::string& agent, const Metric& metric);
  void forget(const std::string& agent) { agents_.erase(agent); }
  const std::map<std::string, OfAgent>& all() const { return agents_; }

  /// A letter or `_`, then letters, digits and `_ . : / -`.
  static bool is_good_name(std::string_view name);

 private:
  static bool take(std::map<std::string, Value>& values, const Metric& metric);

  std::map<std::string, OfAgent> agents_;
};

}  // namespace kurultai
