#include "governance/agent_metrics.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>

namespace kurultai::agent_metrics_test {
namespace {

using enum Metric::Kind;

double value_of(const AgentMetrics& metrics, const std::string& name) {
  return metrics.all().at("a").values.at(name).value;
}

TEST_CASE("a gauge is the last value, a counter the sum of all") {
  AgentMetrics metrics;
  metrics.note("a", {"score", 1.5, gauge});
  metrics.note("a", {"score", -2, gauge});
  metrics.note("a", {"steps", 2, counter});
  metrics.note("a", {"steps", 0, counter});
  metrics.note("a", {"steps", 3.5, counter});
  CHECK(value_of(metrics, "score") == -2);
  CHECK(value_of(metrics, "steps") == 5.5);
  CHECK(metrics.all().at("a").refused == 0);
}

TEST_CASE("agents do not share names") {
  AgentMetrics metrics;
  metrics.note("a", {"steps", 1, counter});
  metrics.note("b", {"steps", 7, gauge});
  CHECK(value_of(metrics, "steps") == 1);
  CHECK(metrics.all().at("b").values.at("steps").kind == gauge);
  metrics.forget("b");
  CHECK_FALSE(metrics.all().contains("b"));
}

TEST_CASE("names have a form") {
  const struct {
    std::string name;
    bool good;
  } table[] = {
      {"steps", true},
      {"_x", true},
      {"queue.depth/max:1-b", true},
      {"", false},
      {"1st", false},
      {".x", false},
      {"two words", false},
      {"a\nb", false},
      {"ü", false},
      {"a\"b", false},
      {"a{b=\"c\"}", false},
      {std::string("a\0b", 3), false},
      {std::string(AgentMetrics::longest_name, 'x'), true},
      {std::string(AgentMetrics::longest_name + 1, 'x'), false},
  };
  for (const auto& row : table) {
    CAPTURE(row.name);
    CHECK(AgentMetrics::is_good_name(row.name) == row.good);
    AgentMetrics metrics;
    metrics.note("a", {row.name, 1, gauge});
    CHECK(metrics.all().at("a").refused == (row.good ? 0 : 1));
  }
}

TEST_CASE("an agent has so many names and no more, and those it has go on") {
  AgentMetrics metrics;
  for (std::size_t i = 0; i < AgentMetrics::most_names + 3; ++i)
    metrics.note("a", {"m" + std::to_string(i), 1, gauge});
  CHECK(metrics.all().at("a").values.size() == AgentMetrics::most_names);
  CHECK(metrics.all().at("a").refused == 3);
  metrics.note("a", {"m0", 9, gauge});
  CHECK(value_of(metrics, "m0") == 9);
  CHECK(metrics.all().at("a").refused == 3);
}

TEST_CASE("what would make no sense to a scraper is refused and changes nothing") {
  constexpr double largest = std::numeric_limits<double>::max();
  AgentMetrics metrics;
  metrics.note("a", {"steps", 4, counter});
  metrics.note("a", {"steps", -1, counter});
  metrics.note("a", {"steps", 1, gauge});
  metrics.note("a", {"steps", std::numeric_limits<double>::quiet_NaN(), counter});
  metrics.note("a", {"score", std::numeric_limits<double>::infinity(), gauge});
  CHECK(value_of(metrics, "steps") == 4);
  CHECK(metrics.all().at("a").refused == 4);
  metrics.note("a", {"much", largest, counter});
  metrics.note("a", {"much", largest, counter});  // the sum is no number
  CHECK(value_of(metrics, "much") == largest);
  CHECK(metrics.all().at("a").refused == 5);
}

}  // namespace
}  // namespace kurultai::agent_metrics_test
