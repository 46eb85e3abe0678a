#include "governance/restart_budget.h"

#include <doctest/doctest.h>

namespace kurultai::restart_budget_test {
namespace {

using namespace std::chrono_literals;

const TimePoint start{5h};

TEST_CASE("a worker that never ended abnormally may start at once") {
  const RestartBudget budget(10);
  CHECK(budget.ready_at(start) <= start);
  CHECK_FALSE(budget.exhausted(start));
}

TEST_CASE("the pause doubles with every end in a row, up to a minute") {
  RestartBudget budget(1000);
  TimePoint now = start;
  for (const auto pause : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s, 60s}) {
    budget.abnormal_end(now);
    CHECK(budget.ready_at(now) == now + pause);
    now += pause;
    CHECK(budget.ready_at(now) <= now);
  }
}

TEST_CASE("serving a task clears the row, not the hour") {
  RestartBudget budget(2);
  budget.abnormal_end(start);
  budget.abnormal_end(start + 1s);
  budget.served();
  CHECK(budget.ready_at(start + 1s) <= start + 1s);
  budget.abnormal_end(start + 2s);
  CHECK(budget.exhausted(start + 2s));
  budget.served();
  CHECK(budget.ready_at(start + 2s) == start + 1h);
}

TEST_CASE("as many restarts an hour as allowed, the next one when the oldest end leaves the hour") {
  RestartBudget budget(10);
  for (int i = 0; i < 10; ++i) {
    const TimePoint now = start + i * 1min;
    budget.abnormal_end(now);
    budget.served();
    CHECK_FALSE(budget.exhausted(now));
    CHECK(budget.ready_at(now) <= now);
  }
  budget.abnormal_end(start + 10min);
  const struct {
    Duration at;
    bool exhausted;
  } table[] = {{10min, true}, {59min, true}, {1h - 1ms, true}, {1h, false}, {1h + 1ms, false}};
  for (const auto& row : table) {
    CAPTURE(row.at.count());
    CHECK(budget.exhausted(start + row.at) == row.exhausted);
    CHECK((budget.ready_at(start + row.at) > start + row.at) == row.exhausted);
  }
  CHECK(budget.ready_at(start + 10min) == start + 1h);
  budget.abnormal_end(start + 1h);
  CHECK_MESSAGE(budget.ready_at(start + 1h) == start + 1min + 1h, "the window slides");
}

TEST_CASE("the later of pause and hour counts") {
  RestartBudget budget(1);
  budget.abnormal_end(start);
  budget.abnormal_end(start + 1h - 500ms);
  CHECK(budget.exhausted(start + 1h - 500ms));
  CHECK(budget.ready_at(start + 1h - 500ms) == start + 1h + 1500ms);
}

TEST_CASE("a budget of none allows no restart within the hour") {
  for (const int max : {0, -3}) {
    RestartBudget budget(max);
    CHECK_FALSE(budget.exhausted(start));
    budget.abnormal_end(start);
    CHECK(budget.ready_at(start) == start + 1h);
    CHECK_FALSE(budget.exhausted(start + 1h));
  }
}

TEST_CASE("a new number holds at once") {
  RestartBudget budget(3);
  for (int i = 0; i < 3; ++i) budget.abnormal_end(start + i * 1min);
  budget.served();
  CHECK_FALSE(budget.exhausted(start + 3min));
  budget.set_max_per_hour(1);
  CHECK(budget.exhausted(start + 3min));
  CHECK(budget.ready_at(start + 3min) == start + 1min + 1h);
  budget.set_max_per_hour(5);
  CHECK_FALSE(budget.exhausted(start + 3min));
}

TEST_CASE("a clock that goes back keeps the ends in order") {
  RestartBudget budget(1);
  budget.abnormal_end(start);
  budget.abnormal_end(start - 30min);
  CHECK(budget.exhausted(start - 30min));
  CHECK(budget.ready_at(start - 30min) == start + 1h);
}

}  // namespace
}  // namespace kurultai::restart_budget_test
