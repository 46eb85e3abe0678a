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

TEST_CASE("a word of a megabyte is compared with nothing") {
  CHECK_FALSE(near_name(std::string(1 << 20, 'm'), std::vector<std::string>{"memory"}).has_value());
}

}  // namespace kurultai::near_name_test
