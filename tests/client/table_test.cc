#include "tools/kurultai/table.h"

#include <doctest/doctest.h>

namespace kurultai::table_test {

TEST_CASE("columns are as wide as their widest cell, and the last one is not padded") {
  Table table({{"TASK"}, {"AGE", Align::right}, {"DETAIL"}});
  table.add({"a1", "3s", "x"});
  table.add({"long-id", "12m30s", ""});
  CHECK(table.text() ==
        "TASK        AGE  DETAIL\n"
        "a1           3s  x\n"
        "long-id  12m30s  -\n");
}

TEST_CASE("cells are counted by characters and cannot move the cursor") {
  Table table({{"NAME"}, {"STATE"}});
  table.add({"größe", "a\x1b[2Jb\nc"});
  table.add({"x"});
  CHECK(table.text() ==
        "NAME   STATE\n"
        "größe  a [2Jb c\n"
        "x      -\n");
}

TEST_CASE("a table without rows knows it") {
  Table table({{"NAME"}});
  CHECK(table.empty());
  table.add({"a"});
  CHECK_FALSE(table.empty());
}

TEST_CASE("facts leave out what is not known") {
  CHECK(facts({{"task", "a1"}, {"peak memory", ""}, {"state", "queued"}}) == "task   a1\nstate  queued\n");
}

}  // namespace kurultai::table_test
