#include "tools/kurultai/run/batch.h"

#include <doctest/doctest.h>

namespace kurultai::batch_test {

namespace {

/// Adds and accepts a command; its id is its number.
std::string add(Batch& batch, const std::string& label = "c") {
  const auto sequence = batch.add(label);
  const std::string id = std::to_string(sequence);
  batch.accepted(sequence, id);
  return id;
}

}  // namespace

TEST_CASE("outputs come in the order in which commands end") {
  Batch batch({});
  const auto first = add(batch), second = add(batch);
  batch.started(first);
  batch.started(second);
  CHECK(batch.counts().running == 2);
  CHECK_FALSE(batch.next_to_collect());
  batch.ended(second, true);
  batch.ended(first, false);
  REQUIRE(batch.next_to_collect());
  CHECK(batch.next_to_collect()->id == second);
  batch.collected(2, true);
  CHECK(batch.next_to_collect()->id == first);
  CHECK_FALSE(batch.next_to_print());
  batch.collected(1, false);
  CHECK(batch.empty());
  CHECK(batch.counts().done == 1);
  CHECK(batch.counts().failed == 1);
}

TEST_CASE("with keep_order an output is collected at once and printed in its turn") {
  Batch batch({.keep_order = true});
  const auto first = add(batch), second = add(batch);
  batch.ended(second, true);
  CHECK_FALSE(batch.in_turn(2));
  batch.collected(2, true);
  CHECK_FALSE(batch.next_to_print());
  CHECK(batch.in_turn(1));
  batch.ended(first, true);
  CHECK_FALSE(batch.next_to_print());
  batch.collected(1, false);
  CHECK(batch.next_to_print() == 1U);
  batch.printed(1);
  CHECK(batch.next_to_print() == 2U);
  batch.printed(2);
  CHECK(batch.empty());
  CHECK(batch.counts().done == 1);
  CHECK(batch.counts().failed == 1);
}

TEST_CASE("with keep_order a command that was given up does not hold up the others") {
  Batch batch({.keep_order = true});
  const auto first = add(batch), second = add(batch);
  batch.ended(second, true);
  batch.collected(2, true);
  batch.cancelled(first);
  CHECK(batch.next_to_print() == 2U);
}

TEST_CASE("there is room only for a bounded number of commands, whatever they wait for") {
  Batch batch({.unfinished = 2, .ended = 2, .held = 2, .keep_order = true});
  add(batch);
  const auto second = add(batch);
  CHECK_FALSE(batch.has_room());  // two are not finished
  batch.ended(second, true);
  CHECK(batch.has_room());
  batch.ended(add(batch), true);
  CHECK_FALSE(batch.has_room());  // two are not collected
  batch.collected(2, true);
  CHECK(batch.has_room());
  batch.collected(3, true);
  CHECK_FALSE(batch.has_room());  // two wait for the first one's output
  batch.ended("1", true);
  batch.collected(1, true);
  batch.printed(1);
  CHECK_FALSE(batch.has_room());
  batch.printed(2);
  CHECK(batch.has_room());
}

TEST_CASE("an event that overtakes the answer to its submission counts") {
  Batch batch({});
  const auto quick = batch.add("quick");
  batch.started("q");
  batch.ended("q", true);
  CHECK_FALSE(batch.next_to_collect());
  batch.accepted(quick, "q");
  CHECK(batch.next_to_collect()->id == "q");
  batch.collected(quick, true);

  const auto running = batch.add("running");
  batch.started("r");
  batch.accepted(running, "r");
  CHECK(batch.counts().running == 1);
}

TEST_CASE("a late or repeated event of a command that has ended changes nothing") {
  Batch batch({});
  const auto id = add(batch);
  batch.ended(id, true);
  batch.started(id);
  batch.sent_back(id);
  batch.ended(id, false);
  batch.cancelled(id);
  CHECK(batch.counts().done == 1);
  batch.collected(1, true);
  batch.ended(id, false);
  CHECK(batch.counts().failed == 0);
  CHECK(batch.empty());
}

TEST_CASE("a preempted command waits again") {
  Batch batch({});
  const auto id = add(batch);
  batch.started(id);
  batch.sent_back(id);
  CHECK(batch.counts().running == 0);
  CHECK(batch.waiting_ids() == std::set<std::string>{id});
  batch.started(id);
  CHECK(batch.waiting_ids().empty());
  CHECK(batch.unfinished_ids() == std::set<std::string>{id});
}

TEST_CASE("what the supervisor says of a task in the end replaces what its event said") {
  Batch batch({});
  batch.ended(add(batch), true);
  batch.collected(1, false);
  CHECK(batch.counts().done == 0);
  CHECK(batch.counts().failed == 1);
}

TEST_CASE("a refused command has failed, a cancelled or given up one was not run") {
  Batch batch({});
  batch.refused(batch.add("too long"));
  batch.given_up(batch.add("not submitted"));
  batch.cancelled(add(batch));
  batch.left_over(7);
  CHECK(batch.empty());
  CHECK(batch.counts().failed == 1);
  CHECK(batch.counts().not_run == 9);
  CHECK(batch.counts().waiting == 0);
}

TEST_CASE("the exit status is the number of failed commands") {
  struct Row {
    std::size_t failed, not_run;
    int expected;
  };
  for (const Row& row :
       {Row{0, 0, 0}, {1, 0, 1}, {100, 0, 100}, {101, 0, 101}, {5000, 0, 101}, {0, 3, 130}, {2, 3, 2}}) {
    CHECK(exit_status({.failed = row.failed, .not_run = row.not_run}) == row.expected);
  }
}

}  // namespace kurultai::batch_test
