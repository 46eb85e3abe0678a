#include "config/yaml_tree.h"

#include <doctest/doctest.h>

namespace kurultai::yaml_tree_test {

namespace {

YamlNode tree_of(std::string_view text) {
  std::vector<YamlMistake> complaints;
  auto tree = parse_yaml(text, complaints);
  REQUIRE(complaints.empty());
  REQUIRE(tree.has_value());
  return *std::move(tree);
}

std::string complaint_of(std::string_view yaml) {
  std::vector<YamlMistake> complaints;
  parse_yaml(yaml, complaints);
  REQUIRE(complaints.size() == 1);
  const auto& [at, text] = complaints[0];
  return std::to_string(at.line).append(":").append(std::to_string(at.column)).append(" ").append(text);
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  while (times-- > 0) all += text;
  return all;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("every node knows its kind and where it stands") {
  const YamlNode root = tree_of("a: 5\nb:\n  - x\n  - 'y'\nc: {d: ~}\n");
  REQUIRE(root.kind == YamlNode::Kind::map);
  const YamlNode* a = root.find("a");
  REQUIRE(a != nullptr);
  CHECK(a->text == "5");
  CHECK(a->plain);
  CHECK(a->at.line == 1);
  CHECK(a->at.column == 4);
  const YamlNode* b = root.find("b");
  REQUIRE(b != nullptr);
  REQUIRE(b->items.size() == 2);
  CHECK_FALSE(b->items[1].plain);
  CHECK(b->items[1].at.line == 4);
  CHECK(b->items[1].at.column == 5);
  const YamlNode* d = root.find("c")->find("d");
  REQUIRE(d != nullptr);
  CHECK(d->kind == YamlNode::Kind::null);
  CHECK(d->at.line == 5);
  CHECK(d->at.column == 5);  // of its key: there is nothing else to point at
  CHECK(root.find("x") == nullptr);
}

TEST_CASE("a text without a document is null") {
  for (const std::string_view text :
       {"", "\n\n", "# only a comment\n", "---\n", "---\n...\n", "\xEF\xBB\xBF"}) {
    CAPTURE(text);
    CHECK(tree_of(text).kind == YamlNode::Kind::null);
  }
}

TEST_CASE("the end of the text is not seen in its values") {
  CHECK(tree_of("a: |+\n  x\n\n").find("a")->text == "x\n\n");
  CHECK(tree_of("a: >-\n  x\n  y").find("a")->text == "x y");
  CHECK(tree_of("a: b # c").find("a")->text == "b");
  CHECK(tree_of("a: 'b'").find("a")->text == "b");
}

TEST_CASE("an alias is a copy of what it names") {
  const YamlNode root = tree_of("a: &x {k: 1}\nb: *x\nc: [*x, *x]\n");
  CHECK(root.find("b")->find("k")->text == "1");
  CHECK(root.find("c")->items[1].find("k")->text == "1");
}

TEST_CASE("duplicate keys are found at every level, and the first one counts") {
  std::vector<YamlMistake> complaints;
  const auto tree = parse_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n\"a\": 4\n", complaints);
  REQUIRE(tree.has_value());
  CHECK(tree->find("a")->text == "1");
  REQUIRE(complaints.size() == 3);
  CHECK(complaints[0].text == "the key 'c' is given twice, first in line 2");
  CHECK(complaints[0].at.column == 11);
  CHECK(complaints[1].at.line == 3);
  CHECK(complaints[2].at.line == 4);
}

TEST_CASE("text that is no YAML is refused where it breaks") {
  CHECK(complaint_of("a: 1\n  b: 2\n").starts_with("2:"));
  CHECK(complaint_of("a: [1, 2\n").starts_with("2:"));
  CHECK(contains(complaint_of("a: *nobody\n"), "not YAML"));
  CHECK(complaint_of("a: \"open\nb: 1\n") == "1:4 this quote is never closed");
  CHECK(complaint_of("a: 'open\nb: #end-of-the-configuration") == "1:4 this quote is never closed");
  CHECK(contains(complaint_of("%YAML 9.1\n---\na: 1\n"), "not YAML"));
  CHECK(contains(complaint_of("a: 1\n---\nb: 2\n"), "2:1 a second document"));
}

TEST_CASE("what a configuration has no use for is refused") {
  CHECK(contains(complaint_of("a: !!binary aGk=\n"), "1:4 the tag"));
  CHECK(contains(complaint_of("a: !mine {b: 1}\n"), "the tag '!mine'"));
  CHECK(contains(complaint_of("[a]: 1\n"), "a key must be a word"));
  CHECK(contains(complaint_of("{x: 1}: 1\n"), "a key must be a word"));
  CHECK(contains(complaint_of("~: 1\n"), "a key must be a word"));
  CHECK(complaint_of("?") == "1:1 a key must be a word");  // not in a line that the text does not have
}

TEST_CASE("bytes that are no text are refused, also those that yaml-cpp takes for the end") {
  CHECK(complaint_of("a: 1\nb\x04: 2\n") == "2:2 a control character (byte 4)");
  CHECK(complaint_of(std::string("a: 1\nxyz\0", 9)) == "2:4 a control character (byte 0)");
  CHECK(complaint_of("a: 1\nb: \xFF\xFE\n") == "2:1 the line is not UTF-8");
  CHECK(complaint_of("\x1b[31m") == "1:1 a control character (byte 27)");
}

TEST_CASE("nesting beyond the bound ends the parse, however deep it goes on") {
  CHECK(tree_of(repeated("[", 32) + repeated("]", 32)).kind == YamlNode::Kind::sequence);
  CHECK(contains(complaint_of(repeated("[", 33) + repeated("]", 33)), "1:33 nested deeper than 32 levels"));
  CHECK(contains(complaint_of(repeated("[", 100'000)), "nested deeper"));
  CHECK(contains(complaint_of(repeated("{a: ", 10'000)), "nested deeper"));
  CHECK(contains(complaint_of(repeated("- ", 100'000)), "nested deeper"));
  CHECK(contains(complaint_of(repeated("? ", 100'000)), "nested deeper"));
}

TEST_CASE("aliases cannot make a small file large or deep") {
  // Each line names a list of what the line before named: ten times, or once for depth.
  const auto chain = [](int lines, std::size_t times) {
    std::string text = "a0: &a0 [x]\n";
    for (int i = 1; i < lines; ++i) {
      const std::string number = std::to_string(i), before = std::to_string(i - 1);
      text.append("a").append(number).append(": &a").append(number).append(" [");
      text.append(repeated(std::string("*a").append(before).append(", "), times)).append("]\n");
    }
    return text;
  };
  CHECK(contains(complaint_of(chain(10, 10)), "values"));
  CHECK(contains(complaint_of(chain(40, 1)), "nested deeper"));
  CHECK(contains(complaint_of("a: &a [*a]\n"), "an alias cannot stand inside"));
}

TEST_CASE("too many values end the parse") {
  CHECK(contains(complaint_of(repeated("- x\n", max_yaml_nodes + 10)), "more than 100000 values"));
  CHECK(complaint_of("a: 1\n" + repeated("[", max_yaml_nodes + 1)) ==
        "2:1 more than 100000 values in one line");
  CHECK(contains(complaint_of(std::string("&a [&b [").append(repeated("x,", 40'000)).append("]]")),
                 "anchors name too many values"));
}

TEST_CASE("text is shown in messages on one line, cut where a character ends") {
  CHECK(in_quotes("abc") == "'abc'");
  CHECK(in_quotes("a\nb\x1b") == "'a?b?'");
  CHECK(in_quotes(std::string(100, 'x')) == std::string("'").append(60, 'x').append("…'"));
  CHECK(in_quotes(std::string(59, 'x').append("ää")) == std::string("'").append(59, 'x').append("…'"));
  CHECK(in_quotes("\xFF") == "'\xEF\xBF\xBD'");
}

}  // namespace kurultai::yaml_tree_test
