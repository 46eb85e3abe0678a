#include "governance/task_queue.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace kurultai::task_queue_test {
namespace {

using enum Priority;

QueuedTask task(std::string id, Priority priority = normal, std::string agent = "agent") {
  return {std::move(id), std::move(agent), priority};
}

// "2", "1 evicts x y", "full", "full low".
std::string text_of(const TaskQueue::Admission& admission) {
  if (const auto* full = std::get_if<TaskQueue::Full>(&admission)) {
    return full->level ? "full " + std::string(to_string(*full->level)) : "full";
  }
  const auto& accepted = std::get<TaskQueue::Accepted>(admission);
  std::string text = std::to_string(accepted.position);
  for (const std::string& id : accepted.evicted)
    text += (id == accepted.evicted.front() ? " evicts " : " ") + id;
  return text;
}

// admits has to say the same as push.
std::string push(TaskQueue& queue, const QueuedTask& queued, bool skipping = false) {
  const std::string foretold = text_of(queue.admits(queued, skipping));
  const std::string answer = text_of(queue.push(queued, skipping));
  CHECK(foretold == answer);
  return answer;
}

bool anyone(const QueuedTask&) { return true; }

std::string order_of(TaskQueue queue) {
  std::string text;
  while (const auto taken = queue.take_first(anyone)) text += (text.empty() ? "" : " ") + taken->task_id;
  return text;
}

QueueLimits roomy(std::size_t depth) { return {depth, {depth, depth, depth, depth, depth}}; }

TEST_CASE("strict priority between levels, first come first served inside one") {
  TaskQueue queue(roomy(20));
  CHECK(push(queue, task("n1", normal)) == "1");
  CHECK(push(queue, task("b1", heartbeat)) == "2");
  CHECK(push(queue, task("c1", critical)) == "1");
  CHECK(push(queue, task("l1", low)) == "3");
  CHECK(push(queue, task("h1", high)) == "2");
  CHECK(push(queue, task("n2", normal)) == "4");
  CHECK(push(queue, task("c2", critical)) == "2");
  CHECK(order_of(queue) == "c1 c2 h1 n1 n2 l1 b1");
  CHECK(queue.position("c1") == 1);
  CHECK(queue.position("n2") == 5);
  CHECK(queue.position("b1") == 7);
  CHECK_FALSE(queue.position("unknown"));
}

TEST_CASE("the depth is never exceeded") {
  for (const std::size_t depth : {0, 1, 5}) {
    TaskQueue queue(roomy(depth));
    for (std::size_t i = 0; i < depth; ++i)
      CHECK(push(queue, task(std::to_string(i))) == std::to_string(i + 1));
    CHECK(queue.depth() == depth);
    for (const Priority priority : all_priorities) CHECK(push(queue, task("more", priority)) == "full");
    CHECK(queue.depth() == depth);
  }
}

TEST_CASE("a level refuses at its own limit, and names it") {
  TaskQueue queue({.max_depth = 10, .per_level = {1, 2, 3, 0, 2}});
  const struct {
    Priority priority;
    int limit;
    const char* refusal;
  } table[] = {{critical, 1, "full critical"},
               {high, 2, "full high"},
               {normal, 3, "full normal"},
               {low, 0, "full low"},
               {heartbeat, 2, "full heartbeat"}};
  for (const auto& row : table) {
    const std::string name(to_string(row.priority));
    for (int i = 0; i < row.limit; ++i) {
      CHECK(push(queue, task(name + std::to_string(i), row.priority)).find("full") == std::string::npos);
    }
    CHECK(push(queue, task(name + "+", row.priority)) == row.refusal);
    CHECK(queue.waiting(row.priority) == static_cast<std::size_t>(row.limit));
  }
  CHECK(queue.depth() == 8);
}

TEST_CASE("level limits above the depth are clamped to it") {
  TaskQueue queue({.max_depth = 3, .per_level = {9, 3, 2, 0, 4}});
  CHECK(queue.limits().per_level == std::array<std::size_t, priority_count>{3, 3, 2, 0, 3});
  queue.set_limits({.max_depth = 1, .per_level = {9, 3, 2, 0, 4}});
  CHECK(queue.limits().max_depth == 1);
  CHECK(queue.limits().per_level == std::array<std::size_t, priority_count>{1, 1, 1, 0, 1});
}

TEST_CASE("a critical task takes the place of the youngest waiting heartbeat") {
  TaskQueue queue({.max_depth = 4, .per_level = {4, 4, 4, 4, 4}});
  for (const char* id : {"b1", "b2", "b3"}) push(queue, task(id, heartbeat));
  CHECK_MESSAGE(push(queue, task("c1", critical)) == "1", "there is room: nobody has to go");
  CHECK(push(queue, task("h1", high)) == "full");
  CHECK(push(queue, task("b4", heartbeat)) == "full");
  CHECK(push(queue, task("c2", critical)) == "2 evicts b3");
  CHECK(push(queue, task("c3", critical)) == "3 evicts b2");
  CHECK(order_of(queue) == "c1 c2 c3 b1");
  CHECK(queue.depth() == 4);
  CHECK(push(queue, task("c4", critical)) == "4 evicts b1");
  CHECK(push(queue, task("c5", critical)) == "full");
}

TEST_CASE("critical's own limit still refuses, and then nobody is evicted") {
  TaskQueue queue({.max_depth = 3, .per_level = {1, 3, 3, 3, 3}});
  push(queue, task("c1", critical));
  push(queue, task("b1", heartbeat));
  CHECK(push(queue, task("c2", critical)) == "full critical");
  push(queue, task("b2", heartbeat));
  CHECK_MESSAGE(push(queue, task("c2", critical)) == "full critical", "the depth is full as well");
  CHECK(order_of(queue) == "c1 b1 b2");
}

TEST_CASE("a returned heartbeat is never evicted") {
  TaskQueue queue({.max_depth = 1, .per_level = {1, 1, 1, 1, 1}});
  queue.push_returned(task("back", heartbeat));
  push(queue, task("b1", heartbeat));
  CHECK(push(queue, task("c1", critical)) == "1 evicts b1");
  CHECK(order_of(queue) == "c1 back");
  queue.take_first(anyone);
  push(queue, task("n1"));
  CHECK(push(queue, task("c2", critical)) == "full");
  CHECK(order_of(queue) == "n1 back");
}

TEST_CASE("returned tasks stand in front of their level and beside the depth") {
  TaskQueue queue({.max_depth = 2, .per_level = {2, 2, 1, 2, 2}});
  push(queue, task("n1"));
  push(queue, task("l1", low));
  queue.push_returned(task("r1"));
  queue.push_returned(task("r2"));
  queue.push_returned(task("r3", low));
  CHECK(order_of(queue) == "r2 r1 n1 r3 l1");
  CHECK(queue.depth() == 2);
  CHECK(queue.returned() == 3);
  CHECK(queue.waiting(normal) == 3);
  CHECK(queue.position("n1") == 3);
  CHECK(queue.position("r3") == 4);

  CHECK_MESSAGE(push(queue, task("n2")) == "full", "the depth counts only those that never ran");
  CHECK(queue.remove("l1"));
  CHECK_MESSAGE(push(queue, task("n2")) == "full normal", "and so does the level's limit");
  CHECK(queue.remove("n1"));
  CHECK(push(queue, task("n2")) == "3");
  CHECK(queue.take_first(anyone)->task_id == "r2");
  CHECK(queue.returned() == 2);
  CHECK(queue.depth() == 1);
  CHECK(queue.remove("r3"));
  CHECK(queue.returned() == 1);
}

TEST_CASE("while heartbeats are skipped a source has one waiting, the newest, in the old place") {
  TaskQueue queue(roomy(4));
  CHECK(push(queue, task("a1", heartbeat, "a"), true) == "1");
  CHECK(push(queue, task("b1", heartbeat, "b"), true) == "2");
  CHECK(push(queue, task("a2", heartbeat, "a"), true) == "1 evicts a1");
  CHECK(order_of(queue) == "a2 b1");
  CHECK(push(queue, task("a3", heartbeat, "a"), false) == "3");
  CHECK(order_of(queue) == "a2 b1 a3");
  CHECK_MESSAGE(push(queue, task("a4", heartbeat, "a"), true) == "1 evicts a2 a3", "the older ones all go");
  CHECK(order_of(queue) == "a4 b1");
  CHECK(queue.depth() == 2);
  CHECK_MESSAGE(push(queue, task("n1", normal, "a"), true) == "1", "only heartbeats are merged");
  CHECK(push(queue, task("n2", normal, "a"), true) == "2");
}

TEST_CASE("a heartbeat may take its source's place in a full queue") {
  TaskQueue queue({.max_depth = 2, .per_level = {2, 2, 2, 2, 1}});
  push(queue, task("n1"));
  push(queue, task("a1", heartbeat, "a"));
  CHECK(push(queue, task("a2", heartbeat, "a"), false) == "full");
  CHECK(push(queue, task("b1", heartbeat, "b"), true) == "full");
  CHECK(push(queue, task("a2", heartbeat, "a"), true) == "2 evicts a1");
  CHECK(queue.depth() == 2);
}

TEST_CASE("a returned heartbeat is not replaced by a newer one of its source") {
  TaskQueue queue(roomy(4));
  queue.push_returned(task("back", heartbeat, "a"));
  CHECK(push(queue, task("a1", heartbeat, "a"), true) == "2");
  CHECK(push(queue, task("a2", heartbeat, "a"), true) == "2 evicts a1");
  CHECK(order_of(queue) == "back a2");
}

TEST_CASE("the first task that may start is taken, and those before it stay") {
  TaskQueue queue(roomy(10));
  push(queue, task("c1", critical, "busy"));
  push(queue, task("n1", normal, "busy"));
  push(queue, task("n2", normal, "free"));
  push(queue, task("l1", low, "free"));
  const auto is_free = [](const QueuedTask& queued) { return queued.agent == "free"; };
  REQUIRE(queue.find_first(is_free) != nullptr);
  CHECK(queue.find_first(is_free)->task_id == "n2");
  const auto taken = queue.take_first(is_free);
  REQUIRE(taken);
  CHECK(taken->task_id == "n2");
  CHECK(taken->priority == normal);
  CHECK(taken->agent == "free");
  CHECK(order_of(queue) == "c1 n1 l1");
  queue.take_first(is_free);
  CHECK_FALSE(queue.take_first(is_free));
  CHECK(queue.find_first(is_free) == nullptr);
  CHECK(order_of(queue) == "c1 n1");
  CHECK(queue.depth() == 2);
}

TEST_CASE("an empty queue gives nothing") {
  TaskQueue queue{QueueLimits{}};
  CHECK_FALSE(queue.take_first(anyone));
  CHECK(queue.find_first(anyone) == nullptr);
  CHECK_FALSE(queue.remove("x"));
  CHECK(queue.depth() == 0);
  CHECK(queue.returned() == 0);
}

TEST_CASE("a removed task makes room, once") {
  TaskQueue queue(roomy(1));
  push(queue, task("a"));
  CHECK_FALSE(queue.remove("b"));
  CHECK(queue.remove("a"));
  CHECK_FALSE(queue.remove("a"));
  CHECK(queue.depth() == 0);
  CHECK(push(queue, task("b")) == "1");
}

TEST_CASE("lower limits leave waiting tasks in place and hold for what comes") {
  TaskQueue queue(roomy(5));
  for (const char* id : {"n1", "n2"}) push(queue, task(id));
  for (const char* id : {"b1", "b2", "b3"}) push(queue, task(id, heartbeat, id));
  queue.set_limits(roomy(3));
  CHECK(queue.depth() == 5);
  CHECK(push(queue, task("n3")) == "full");
  CHECK_MESSAGE(push(queue, task("c1", critical)) == "1 evicts b3 b2 b1", "so many that the depth holds");
  CHECK(order_of(queue) == "c1 n1 n2");

  TaskQueue crowded(roomy(5));
  for (const char* id : {"n1", "n2", "n3", "n4"}) push(crowded, task(id));
  push(crowded, task("b1", heartbeat));
  crowded.set_limits(roomy(3));
  CHECK_MESSAGE(push(crowded, task("c1", critical)) == "full", "evicting would not make room: nobody goes");
  CHECK(crowded.depth() == 5);
  crowded.set_limits(roomy(6));
  CHECK(push(crowded, task("c1", critical)) == "1");
}

}  // namespace
}  // namespace kurultai::task_queue_test
