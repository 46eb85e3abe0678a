#include "tools/kurultai/run/arguments.h"

#include <doctest/doctest.h>

namespace kurultai::arguments_test {
using Words = std::vector<std::string>;

TEST_CASE("arguments stand behind :::, and without it there are none") {
  const auto with = split_arguments({"python3", "crawl.py", "{}", ":::", "a", "b c"});
  REQUIRE(with);
  CHECK(with->command == Words{"python3", "crawl.py", "{}"});
  CHECK(with->arguments == Words{"a", "b c"});

  const auto without = split_arguments({"make", "-j"});
  REQUIRE(without);
  CHECK(without->command == Words{"make", "-j"});
  CHECK_FALSE(without->arguments);

  const auto empty = split_arguments({"echo", ":::"});
  REQUIRE(empty);
  CHECK(empty->arguments == Words{});
}

TEST_CASE("a missing command and a second ::: are usage errors that say what to write") {
  for (const Words& words : {Words{}, Words{":::", "a"}, Words{"echo", ":::", "a", ":::", "b"}}) {
    const auto line = split_arguments(words);
    REQUIRE_FALSE(line);
    CHECK(line.error().status == ExitStatus::usage);
    CHECK(line.error().text.find(":::") != std::string::npos);
  }
}

TEST_CASE("{} is replaced wherever it stands, and what was put in is not looked at again") {
  struct Row {
    Words command;
    std::string argument;
    Words expected;
  };
  const Row rows[] = {
      {{"echo"}, "a", {"echo", "a"}},
      {{"echo", "{}"}, "a", {"echo", "a"}},
      {{"cp", "{}", "{}.bak"}, "x y", {"cp", "x y", "x y.bak"}},
      {{"echo", "{}{}"}, "{}", {"echo", "{}{}"}},
      {{"echo", "{ }", "{"}, "a", {"echo", "{ }", "{", "a"}},
      {{"{}"}, "true", {"true"}},
      {{"echo", "-{}-"}, "", {"echo", "--"}},
      {{"echo"}, "", {"echo", ""}},
  };
  for (const auto& row : rows) CHECK(with_argument(row.command, row.argument) == row.expected);
}

TEST_CASE("the cap of one command follows from the budget when it is not given") {
  struct Row {
    std::optional<Bytes> budget, memory;
    Bytes expected_budget, expected_memory;
  };
  const Row rows[] = {
      {{}, {}, gibibytes(1), mebibytes(512)},
      {mebibytes(256), {}, mebibytes(256), mebibytes(224)},
      {gibibytes(4), {}, gibibytes(4), mebibytes(512)},
      {{}, gibibytes(1), gibibytes(1), gibibytes(1)},
      {gibibytes(2), mebibytes(64), gibibytes(2), mebibytes(64)},
  };
  for (const auto& row : rows) {
    const auto plan = plan_memory(row.budget, row.memory);
    REQUIRE(plan);
    CHECK(plan->budget == row.expected_budget);
    CHECK(plan->memory == row.expected_memory);
  }
}

TEST_CASE("a cap above the budget is refused by both names, and a budget without room too") {
  const auto above = plan_memory(mebibytes(256), mebibytes(512));
  REQUIRE_FALSE(above);
  CHECK(above.error().status == ExitStatus::usage);
  CHECK(above.error().text ==
        "--memory 512MiB is more than --budget 256MiB; a command must fit into the budget");
  CHECK_FALSE(plan_memory({}, gibibytes(2)));
  CHECK_FALSE(plan_memory(mebibytes(32), {}));
  CHECK_FALSE(plan_memory({}, Bytes{0}));
}

}  // namespace kurultai::arguments_test
