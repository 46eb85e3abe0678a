#include "protocol/json_path.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "protocol/utf8.h"

namespace kurultai::json_path_test {
using nlohmann::json;

namespace {

const json value = json::parse(R"({
  "type": "item", "item": {"text": "hi", "n": null, "odd key.": 5},
  "content": [{"text": "a"}, {"name": "b"}, {"text": "c"}], "deep": [[1, 2], [3]]})");

std::string found(const std::string& path) {
  const auto parsed = JsonPath::parse(path);
  REQUIRE_MESSAGE(parsed.has_value(), path);
  CHECK(parsed->text() == path);
  json all = json::array();
  for (const json* one : parsed->find(value)) all.push_back(*one);
  return all.dump();
}

}  // namespace

TEST_CASE("a path finds what lies there") {
  struct Row {
    const char *path, *found;
  };
  for (const Row& row : {Row{"$.type", R"(["item"])"},
                         {"type", R"(["item"])"},
                         {"item.text", R"(["hi"])"},
                         {"$['item'][\"text\"]", R"(["hi"])"},
                         {"['item'].text", R"(["hi"])"},
                         {"item['odd key.']", "[5]"},
                         {"content[0].text", R"(["a"])"},
                         {"content[-1].text", R"(["c"])"},
                         {"content[*].text", R"(["a","c"])"},
                         {"deep[*][*]", "[1,2,3]"},
                         {"deep[*][1]", "[2]"}}) {
    CHECK_MESSAGE(found(row.path) == row.found, row.path);
  }
  CHECK(JsonPath::parse("$")->find(value).front() == &value);
}

TEST_CASE("what is not there, is null or of another kind is not found") {
  for (const char* path : {"nothing", "type.text", "item.n", "item[0]", "content.text", "content[3]",
                           "content[-4]", "type[*]", "item[*]", "content[99999]"}) {
    CHECK_MESSAGE(found(path) == "[]", path);
  }
}

TEST_CASE("a path that is none is refused") {
  for (const char* path : {"",          ".",    ".a",   "$a",     "$.",    "a.",    "a..b", "a[",
                           "a[]",       "a[x]", "a[1",  "a[*",    "a['x]", "a['x'", "a b",  "a[99999999999]",
                           "$[?(@.x)]", "a,b",  "$..a", "a[1:2]", "ä"}) {
    CHECK_MESSAGE(!JsonPath::parse(path).has_value(), path);
  }
  CHECK(JsonPath::parse("a.b[0").error().message ==
        "path 'a.b[0' is wrong before ''; steps are .name, ['any name'], [2], [-1] and [*]");
}

TEST_CASE("what is wrong with a path is cut between characters") {
  for (const std::size_t length : {1, 2, 3, 4, 14, 15, 16, 62, 63, 64}) {
    CAPTURE(length);
    const std::string path =
        std::string(length, 'a') + "[" + std::string(length, 'x') + "\u00e4\u00e4\u00e4\u00e4";
    const auto parsed = JsonPath::parse(path);
    REQUIRE_FALSE(parsed);
    CHECK(is_utf8(parsed.error().message));
  }
}

TEST_CASE("a path has limits") {
  CHECK(JsonPath::parse(std::string(JsonPath::longest, 'a')));
  CHECK(!JsonPath::parse(std::string(JsonPath::longest + 1, 'a')));
  std::string steps = "a";
  for (std::size_t i = 1; i < JsonPath::most_steps; ++i) steps += ".a";
  CHECK(JsonPath::parse(steps));
  CHECK(!JsonPath::parse(steps + ".a"));
  const json many(JsonPath::most_found + 1, 1);
  CHECK(JsonPath::parse("$[*]")->find(many).size() == JsonPath::most_found);
}

}  // namespace kurultai::json_path_test
