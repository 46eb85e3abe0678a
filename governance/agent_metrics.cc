#include "governance/agent_metrics.h"

#include <algorithm>
#include <cmath>

namespace kurultai {
namespace {

// Not isalpha: that asks the locale.
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

bool AgentMetrics::is_good_name(std::string_view name) {
  if (name.empty() || name.size() > longest_name || (!is_letter(name[0]) && name[0] != '_')) return false;
  return std::ranges::all_of(name, [](char c) {
    return is_letter(c) || is_digit(c) || std::string_view("_.:/-").find(c) != std::string_view::npos;
  });
}

void AgentMetrics::note(const std::string& agent, const Metric& metric) {
  OfAgent& known = agents_[agent];
  if (!take(known.values, metric)) known.refused += 1;
}

bool AgentMetrics::take(std::map<std::string, Value>& values, const Metric& metric) {
  const bool is_counter = metric.kind == Metric::Kind::counter;
  if (!std::isfinite(metric.value) || (is_counter && metric.value < 0)) return false;
  const auto known = values.find(metric.name);
  if (known == values.end()) {
    if (values.size() >= most_names || !is_good_name(metric.name)) return false;
    values.emplace(metric.name, Value{metric.kind, metric.value});
    return true;
  }
  Value& value = known->second;
  const double next = is_counter ? value.value + metric.value : metric.value;
  if (value.kind != metric.kind || !std::isfinite(next)) return false;
  value.value = next;
  return true;
}

}  // namespace kurultai
