#include "config/command_template.h"

#include <doctest/doctest.h>

namespace kurultai::command_template_test {

TEST_CASE("an argument is cut into text and fields") {
  using Pieces = std::vector<TemplatePiece>;
  struct Case {
    std::string_view argument;
    Pieces pieces;
  };
  const std::vector<Case> cases = {
      {"", {}},
      {"plain text", {{false, "plain text"}}},
      {"{script}", {{true, "script"}}},
      {"--in={a.b-c_1}!", {{false, "--in="}, {true, "a.b-c_1"}, {false, "!"}}},
      {"{a}{b}", {{true, "a"}, {true, "b"}}},
      {"awk {{print $1}}", {{false, "awk {print $1}"}}},
      {"{{{a}}}", {{false, "{"}, {true, "a"}, {false, "}"}}},
      {"{{a}}", {{false, "{a}"}}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.argument);
    const auto pieces = parse_template(c.argument);
    REQUIRE(pieces.has_value());
    CHECK(*pieces == c.pieces);
  }
}

TEST_CASE("braces that are no field are refused with the way to write them") {
  for (const std::string_view argument :
       {"{", "}", "{}", "a{b", "a}b", "{a b}", "{print $1}", "{a", "{a{b}}", "{ä}"}) {
    CAPTURE(argument);
    const auto pieces = parse_template(argument);
    REQUIRE_FALSE(pieces.has_value());
    CHECK(pieces.error().message.find("write ") != std::string::npos);
  }
}

}  // namespace kurultai::command_template_test
