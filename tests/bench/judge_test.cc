#include "tools/bench/trials/judge.h"

#include <doctest/doctest.h>

namespace kurultai::judge_test {
using namespace kurultai::bench;

namespace {

Turn spared() { return {.holding = 100}; }

Turn chosen(int decision, double decided, const char* why = "kill") {
  return {.holding = 100, .ended = decided + 10, .decided = decided, .decision = decision, .why = why};
}

Subject task(Priority priority, std::vector<Turn> turns) {
  return {.id = "t", .priority = priority, .mib = 50, .turns = std::move(turns)};
}

}  // namespace

TEST_CASE("a round in which the lowest gave way is right") {
  CHECK(faults_of({task(Priority::low, {chosen(1, 500)}), task(Priority::normal, {spared()})}).empty());
}

TEST_CASE("nobody gives way while a lower one with memory is spared") {
  const auto faults = faults_of({task(Priority::low, {spared()}), task(Priority::normal, {chosen(1, 500)})});
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].find("gave way while") != std::string::npos);
}

TEST_CASE("a lower one that is chosen later was spared, one that was chosen with it or before was not") {
  const Subject normal = task(Priority::normal, {chosen(2, 500)});
  CHECK(faults_of({task(Priority::low, {chosen(3, 505)}), normal}).size() == 1);
  CHECK(faults_of({task(Priority::low, {chosen(2, 500)}), normal}).empty());
  CHECK(faults_of({task(Priority::low, {chosen(1, 495)}), normal}).empty());
}

TEST_CASE("a lower one without memory at that moment was not spared") {
  const Subject normal = task(Priority::normal, {chosen(2, 500)});
  CHECK(faults_of({task(Priority::low, {{.holding = 600}}), normal}).empty());
  CHECK(faults_of({task(Priority::low, {{.holding = 100, .ended = 450}}), normal}).empty());
}

TEST_CASE("one that gave way, came back and had its memory again is like all others") {
  const Subject low = task(Priority::low, {chosen(1, 300), {.holding = 400}});
  CHECK(faults_of({low, task(Priority::normal, {chosen(2, 500)})}).size() == 1);
}

TEST_CASE("equals may be chosen among each other, the grower too") {
  CHECK(faults_of({task(Priority::low, {chosen(1, 500)}), task(Priority::low, {spared()})}).empty());
}

TEST_CASE("what the governor did not decide is a fault, and so is a failure") {
  CHECK(faults_of({task(Priority::low, {chosen(0, 500, "kernel")})}).size() == 1);
  CHECK(faults_of({task(Priority::low, {chosen(1, 500, "worker_lost")})}).size() == 1);
  Subject failed = task(Priority::low, {spared()});
  failed.failure = "signal, killed";
  CHECK(faults_of({failed}).size() == 1);
}

TEST_CASE("all overlapped when each had its memory before the first was chosen") {
  const Subject victim = task(Priority::low, {chosen(1, 500)});
  CHECK(all_overlapped({victim, task(Priority::high, {spared()})}));
  CHECK_FALSE(all_overlapped({victim, task(Priority::high, {{.holding = 600}})}));
  CHECK_FALSE(all_overlapped({victim, task(Priority::high, {})}));
}

}  // namespace kurultai::judge_test
