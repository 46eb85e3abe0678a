#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>

#include "tools/bench/packing/outcome.h"
#include "tools/bench/packing/schedule.h"
#include "tools/bench/packing/workload.h"

namespace kurultai::packing_test {
using namespace kurultai::bench;
using std::chrono::milliseconds;

namespace {

PackedTask task(int mib, int ms) {
  return {.mib = mib, .time = milliseconds(ms), .declared_mib = mib, .size_class = "any"};
}

/// The most memory that is held at once when each task starts as soon as all before it have and it fits.
int most_held(const std::vector<PackedTask>& tasks, const Packing& packing, int capacity) {
  std::multimap<double, int> ends;
  double now = 0;
  int held = 0;
  int most = 0;
  for (const std::size_t next : packing.order) {
    while (held + tasks[next].mib > capacity) {
      now = ends.begin()->first;
      held -= ends.begin()->second;
      ends.erase(ends.begin());
    }
    held += tasks[next].mib;
    most = std::max(most, held);
    ends.emplace(now + std::chrono::duration<double>(tasks[next].time).count(), tasks[next].mib);
  }
  CHECK(packing.seconds == doctest::Approx(ends.rbegin()->first));
  return most;
}

}  // namespace

TEST_CASE("the same seed gives the same tasks, another one others") {
  const auto tasks = make_workload({.seed = 7});
  const auto again = make_workload({.seed = 7});
  const auto others = make_workload({.seed = 8});
  REQUIRE(tasks.size() == 200);
  CHECK(std::ranges::equal(tasks, again, {}, &PackedTask::mib, &PackedTask::mib));
  CHECK_FALSE(std::ranges::equal(tasks, others, {}, &PackedTask::mib, &PackedTask::mib));
}

TEST_CASE("tasks are as large and as long as asked, most of them far from the largest, and some are leaks") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto tasks = make_workload({.seed = seed});
    CHECK(std::ranges::count_if(tasks, &PackedTask::leaks) == 4);
    int above = 0;
    for (const PackedTask& each : tasks) {
      CHECK(each.declared_mib >= 20);
      CHECK(each.mib <= 400);
      CHECK(each.time >= milliseconds(500));
      CHECK(each.time <= milliseconds(3000));
      if (each.leaks()) CHECK(each.mib == 400);
      if (each.mib > 200) ++above;
    }
    CHECK(above > 10);
    CHECK(above < 70);
  }
}

TEST_CASE("tasks of one size class differ by no more than its step") {
  const auto tasks = make_workload({.seed = 3, .class_step = 1.2});
  std::map<std::string, std::pair<int, int>> classes;
  for (const PackedTask& each : tasks) {
    auto& [least, most] =
        classes.try_emplace(each.size_class, each.declared_mib, each.declared_mib).first->second;
    least = std::min(least, each.declared_mib);
    most = std::max(most, each.declared_mib);
  }
  CHECK(classes.size() > 10);
  for (const auto& [name, range] : classes) CHECK(range.second <= range.first * 1.2 + 1);
}

TEST_CASE("what fits together runs together, and what does not one after the other") {
  const std::vector<PackedTask> tasks = {task(60, 1000), task(60, 1000), task(40, 1000), task(40, 1000)};
  CHECK(pack(tasks, 100).seconds == doctest::Approx(2));
  CHECK(pack(tasks, 200).seconds == doctest::Approx(1));
  CHECK(pack(tasks, 60).seconds == doctest::Approx(4));
  CHECK(least_possible(tasks, 100) == doctest::Approx(2));
  CHECK(least_possible(tasks, 1000) == doctest::Approx(1));
}

TEST_CASE("where the order of sizes is misleading the fullest choice is found") {
  const std::vector<PackedTask> tasks = {task(50, 1000), task(35, 1000), task(35, 1000), task(30, 1000),
                                         task(50, 1000)};
  CHECK(pack(tasks, 100).seconds == doctest::Approx(2));
}

TEST_CASE("a task larger than all there is cannot be packed") {
  CHECK_THROWS_AS(pack(std::vector{task(101, 1000)}, 100), std::runtime_error);
}

TEST_CASE("every packing holds each task once, keeps to the capacity, and none beats the lower bound") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto tasks = make_workload({.seed = seed, .tasks = 60, .leaks = 2});
    const Packing packing = pack(tasks, 870);
    auto order = packing.order;
    std::ranges::sort(order);
    for (std::size_t i = 0; i < tasks.size(); ++i) REQUIRE(order[i] == i);
    CHECK(most_held(tasks, packing, 870) <= 870);
    CHECK(packing.seconds >= least_possible(tasks, 870));
    CHECK(packing.seconds < 1.5 * least_possible(tasks, 870));
  }
}

TEST_CASE("what did not come to its end was killed, unless it leaks") {
  std::vector<PackedTask> tasks = {task(10, 10), task(10, 10), task(10, 10), task(10, 10)};
  tasks[3].mib = 400;
  const Course course{tasks, gibibytes(1), 400, ""};
  const Outcome outcome = outcome_of("any", course, {{1, 1}, {3, 1}, {1, 0}, {2, 0}});
  CHECK(outcome.undone == 1);
  CHECK(outcome.killed == 3);
  CHECK(outcome.restarts == 3);
}

}  // namespace kurultai::packing_test
