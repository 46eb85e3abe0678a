#include "governance/placement.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace kurultai::placement_test {
namespace {

using namespace std::chrono_literals;
using enum WorkerView::Standing;

constexpr Bytes own_limit = mebibytes(64);

WorkerView idle_worker(std::string id, std::string agent, Duration since = 0s) {
  return {std::move(id), std::move(agent), own_limit, idle, 0, TimePoint(since)};
}
WorkerView busy_worker(std::string id, std::string agent, int free_slots = 0) {
  return {std::move(id), std::move(agent), own_limit, busy, free_slots, {}};
}
WorkerView ending_worker(std::string id, std::string agent) {
  return {std::move(id), std::move(agent), own_limit, ending, 0, {}};
}
WorkerView starting_worker(std::string id, std::string agent, int free_slots = 0) {
  return {std::move(id), std::move(agent), own_limit, starting, free_slots, {}};
}

WorkerView suspect(WorkerView worker) {
  worker.suspect = true;
  return worker;
}

std::string text_of(const Placement& placement) {
  struct Text {
    std::string operator()(const UseWorker& p) const { return "use " + p.worker_id; }
    std::string operator()(const SpawnWorker&) const { return "spawn"; }
    std::string operator()(const YieldWorker& p) const { return "yield " + p.worker_id; }
    std::string operator()(const WaitForWorker&) const { return "wait"; }
    std::string operator()(const WaitForOwn&) const { return "wait for own"; }
  };
  return std::visit(Text{}, placement);
}

TEST_CASE("a task of agent a goes to the best place there is") {
  const struct {
    const char* why;
    std::vector<WorkerView> workers;
    int max_workers;
    const char* answer;
  } table[] = {
      {"no worker yet", {}, 2, "spawn"},
      {"no worker allowed", {}, 0, "wait"},
      {"a limit below nothing", {}, -1, "wait"},
      {"an idle one of its own", {idle_worker("1", "a")}, 2, "use 1"},
      {"room for one beside another agent's", {idle_worker("1", "b")}, 2, "spawn"},
      {"the warmest",
       {idle_worker("1", "a", 1s), idle_worker("2", "a", 3s), idle_worker("3", "a", 2s)},
       3,
       "use 2"},
      {"equally warm: the first", {idle_worker("1", "a", 1s), idle_worker("2", "a", 1s)}, 2, "use 1"},
      {"idle before a free slot", {busy_worker("1", "a", 3), idle_worker("2", "a")}, 2, "use 2"},
      {"a free slot before a new worker", {busy_worker("1", "a", 1)}, 2, "use 1"},
      {"most free slots", {busy_worker("1", "a", 1), busy_worker("2", "a", 2)}, 2, "use 2"},
      {"a well one before a suspect one, however warm",
       {suspect(idle_worker("1", "a", 3s)), idle_worker("2", "a", 1s)},
       2,
       "use 2"},
      {"a slot of a well one before a suspect one that is idle",
       {suspect(idle_worker("1", "a")), busy_worker("2", "a", 1)},
       2,
       "use 2"},
      {"a suspect one before a new one", {suspect(idle_worker("1", "a"))}, 2, "use 1"},
      {"no slot free", {busy_worker("1", "a", 0)}, 2, "spawn"},
      {"another agent's slots are none", {busy_worker("1", "b", 4)}, 1, "wait"},
      {"all busy", {busy_worker("1", "a"), busy_worker("2", "b")}, 2, "wait"},
      {"one below the limit", {busy_worker("1", "a"), busy_worker("2", "b")}, 3, "spawn"},
      {"another's idle one yields", {busy_worker("1", "a"), idle_worker("2", "b")}, 2, "yield 2"},
      {"the one idle longest yields", {idle_worker("1", "b", 2s), idle_worker("2", "c", 1s)}, 2, "yield 2"},
      {"more workers than allowed now", {busy_worker("1", "a"), idle_worker("2", "b")}, 1, "yield 2"},
      {"ending ones count", {ending_worker("1", "b"), busy_worker("2", "a")}, 2, "wait"},
      {"ending ones take no task", {ending_worker("1", "a")}, 1, "wait"},
      {"a place is on its way", {ending_worker("1", "b"), idle_worker("2", "b")}, 2, "wait"},
      {"the place on its way is not enough",
       {ending_worker("1", "b"), idle_worker("2", "b"), busy_worker("3", "a")},
       1,
       "yield 2"},
      {"starting ones count", {starting_worker("1", "a")}, 1, "wait"},
      {"one that is starting for another task does not stop a new one",
       {starting_worker("1", "a")},
       2,
       "spawn"},
      {"a slot of a starting one before a new worker", {starting_worker("1", "a", 1)}, 2, "use 1"},
      {"most free slots of starting ones",
       {starting_worker("1", "a", 1), starting_worker("2", "a", 3)},
       3,
       "use 2"},
      {"a slot of one that is there before more of one that is starting",
       {starting_worker("1", "a", 3), busy_worker("2", "a", 1)},
       3,
       "use 2"},
      {"another agent's starting one", {starting_worker("1", "b", 3)}, 2, "spawn"},
      {"starting ones do not yield", {starting_worker("1", "b")}, 1, "wait"},
  };
  for (const auto& row : table) {
    CAPTURE(row.why);
    CHECK(text_of(place({"a", own_limit}, row.workers, row.max_workers)) == row.answer);
  }
}

TEST_CASE("a worker with another limit is as good as another agent's") {
  const std::vector<WorkerView> workers = {idle_worker("1", "a")};
  const WantedWorker larger{"a", mebibytes(65)};
  CHECK(text_of(place(larger, workers, 2)) == "spawn");
  CHECK(text_of(place(larger, workers, 1)) == "yield 1");
  CHECK(text_of(place(larger, std::vector{busy_worker("1", "a", 3)}, 1)) == "wait");
  CHECK(text_of(place(larger, std::vector{starting_worker("1", "a", 3)}, 2)) == "spawn");
}

TEST_CASE("an agent with all the workers it may have waits for them, whatever room there is") {
  const WantedWorker one{"a", own_limit, 1};
  CHECK(text_of(place(one, std::vector<WorkerView>{}, 4)) == "spawn");
  CHECK(text_of(place(one, std::vector{idle_worker("1", "a")}, 4)) == "use 1");
  CHECK(text_of(place(one, std::vector{busy_worker("1", "a", 2)}, 4)) == "use 1");
  CHECK(text_of(place(one, std::vector{busy_worker("1", "a")}, 4)) == "wait for own");
  CHECK(text_of(place(one, std::vector{starting_worker("1", "a")}, 4)) == "wait for own");
  CHECK(text_of(place(one, std::vector{starting_worker("1", "a", 1)}, 4)) == "use 1");
  CHECK(text_of(place(one, std::vector{ending_worker("1", "a")}, 4)) == "wait for own");
  CHECK(text_of(place(one, std::vector{busy_worker("1", "b")}, 4)) == "spawn");
  CHECK(text_of(place(one, std::vector{busy_worker("1", "b")}, 1)) == "wait");
  CHECK(text_of(place({"a", own_limit, 2}, std::vector{busy_worker("1", "a")}, 4)) == "spawn");
  CHECK(text_of(place({"a", mebibytes(65), 1}, std::vector{idle_worker("1", "a")}, 4)) == "yield 1");
}

}  // namespace
}  // namespace kurultai::placement_test
