#include "config/near_name.h"

#include <doctest/doctest.h>

#include <vector>

namespace kurultai::near_name_test {

TEST_CASE("the edit distance counts insertions, omissions, replacements and swaps of neighbours") {
  struct Case {
    std::string_view a, b;
    std::size_t distance;
  };
  for (const Case& c :
       {Case{"", "", 0}, Case{"", "abc", 3}, Case{"abc", "abc", 0}, Case{"memroy", "memory", 1},
        Case{"limit", "limits", 1}, Case{"kitten", "sitting", 3}, Case{"ab", "ba", 1}}) {
    CAPTURE(c.a);
    CHECK(edit_distance(c.a, c.b) == c.distance);
    CHECK(edit_distance(c.b, c.a) == c.distance);
  }
}

TEST_CASE("the nearest name is offered when it is near enough") {
  const std::vector<std::string> names = {"memory", "workers", "queue", "memory_limit", "cwd"};
  CHECK(near_name("memroy", names) == "memory");
  CHECK(near_name("memory_limt", names) == "memory_limit");
  CHECK(near_name("worker", names) == "workers");
  CHECK(near_name("cwf", names) == "cwd");
  CHECK_FALSE(near_name("publishers", names).has_value());
  CHECK_FALSE(near_name("cpu", names).has_value());
  CHECK_FALSE(near_name("", names).has_value());
  CHECK_FALSE(near_name("x", std::vector<std::string>{}).has_value());
}

TEST_CASE("a part of few names means one of them, of many all that are known") {
  const std::vector<std::string> names = {"memory_limit", "max_memory_deaths", "max_workers",
                                          "max_tasks",    "max_lines",         "max_files"};
  CHECK(meant_or_known("workers", names) == ", did you mean 'max_workers'?");
  CHECK(meant_or_known("memory", names) == ", did you mean 'memory_limit' or 'max_memory_deaths'?");
  CHECK(meant_or_known("max_worker", names) == ", did you mean 'max_workers'?");
  CHECK(meant_or_known("mem", names).starts_with("; known here: memory_limit, max_memory_deaths, "));
  CHECK(meant_or_known("max", names).starts_with("; known here: "));
  CHECK(meant_or_known("", names).starts_with("; known here: "));
}

TEST_CASE("a word of a megabyte is compared with nothing") {
  CHECK_FALSE(near_name(std::string(1 << 20, 'm'), std::vector<std::string>{"memory"}).has_value());
}

}  // namespace kurultai::near_name_test
