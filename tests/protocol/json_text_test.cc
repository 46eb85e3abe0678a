#include "protocol/json_text.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace kurultai::json_text_test {
using nlohmann::json;

namespace {

std::string nested(std::size_t depth, char open, char close) {
  return std::string(depth, open) + std::string(depth, close);
}

std::string json_string(std::string_view text) {
  std::string out;
  append_quoted(out, text);
  return out;
}

}  // namespace

TEST_CASE("plain is a text that needs no escape, wherever a byte stands that does") {
  CHECK(is_plain(""));
  for (int code = 0; code < 256; ++code) {
    const char byte = static_cast<char>(code);
    const bool needs_none = code >= 0x20 && code < 0x80 && byte != '"' && byte != '\\';
    for (std::size_t length = 1; length < 20; ++length) {
      for (std::size_t at = 0; at < length; ++at) {
        std::string text(length, '!');
        text[at] = byte;
        CHECK(is_plain(text) == needs_none);
      }
    }
  }
}

TEST_CASE("every kind of value is read as nlohmann reads it") {
  for (const char* text :
       {"null", "true", "false", "0", "-1", "18446744073709551615", "-9223372036854775808", "1.5e3", "\"\"",
        R"("\u00e4\ud83d\ude00\n")", "[]", "{}", " [1, [2, []], {}] ",
        R"({"a":{"b":[1,{"c":null}],"d":"e"},"f":2})", R"([{"a":1},{"b":[[],[[]]]},3,"x",null,true])"}) {
    CAPTURE(text);
    const Result<json> value = parse_json(text);
    REQUIRE(value.has_value());
    CHECK(*value == json::parse(text));
  }
}

TEST_CASE("what is no JSON is refused with the byte and the cause") {
  struct Row {
    std::string text;
    std::string cause;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"", "byte 1: "},
           {"{", "byte 2: "},
           {"[1,]", "byte 4: syntax error"},
           {"{\"a\" 1}", "byte 6: syntax error"},
           {"{} {}", "byte 4: syntax error"},
           {"[1] x", "byte 5: syntax error"},
           {"nul", "byte 4: syntax error"},
           {"1e400", "number overflow"},
           {"[-1e999]", "number overflow"},
           {"NaN", "syntax error"},
           {"\"\xFF\"", "UTF-8"},
           {"\"\xED\xA0\x80\"", "UTF-8"},
           {R"("\ud800")", "surrogate"},
           {"\"a\nb\"", "control character"},
           {"// comment\n1", "syntax error"},
           {"'a'", "syntax error"},
           {std::string("{}\0", 3), "byte 3: a NUL"},
           {std::string("{}\0 {", 5), "byte 3: a NUL"},
       }) {
    CAPTURE(row.text);
    const Result<json> value = parse_json(row.text);
    REQUIRE_FALSE(value.has_value());
    CAPTURE(value.error().message);
    CHECK(value.error().message.starts_with("byte "));
    CHECK(value.error().message.find(row.cause) != std::string::npos);
    CHECK(value.error().message.find("json.exception") == std::string::npos);
    CHECK_FALSE(is_too_deep(value.error()));
    CHECK_NOTHROW(json_string(value.error().message));
  }
}

TEST_CASE("an error about a long text is short") {
  CHECK(parse_json('"' + std::string(1'000'000, 'x')).error().message.size() < 300);
}

TEST_CASE("nesting is bounded before a tree is built") {
  for (const auto& [open, close] : {std::pair{'[', ']'}}) {
    CHECK(parse_json(nested(max_json_depth, open, close)).has_value());
    CHECK(is_too_deep(parse_json(nested(max_json_depth + 1, open, close)).error()));
    CHECK(is_too_deep(parse_json(nested(100'000, open, close)).error()));
    CHECK(is_too_deep(parse_json(std::string(100'000, open)).error()));
  }
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  const Result<json> value = parse_json(objects);
  REQUIRE_FALSE(value.has_value());
  CHECK(is_too_deep(value.error()));
  CHECK(value.error().message == "nesting deeper than 64");
}

TEST_CASE("depth is nesting, not the number of containers or of brackets in strings") {
  std::string wide = "[";
  for (int i = 0; i < 1000; ++i) wide += "[{}],";
  CHECK(parse_json(wide + "[]]").has_value());
  CHECK(parse_json('"' + std::string(1000, '[') + '"').has_value());
}

TEST_CASE("a key that stands twice is refused, or the last one wins") {
  const char* const text = R"({"a":{"x":1},"b":2,"a":{"y":3}})";
  CHECK(parse_json(text).error().message == "duplicate key \"a\"");
  CHECK(parse_json(text, DuplicateKeys::last_wins).value() == json{{"a", {{"y", 3}}}, {"b", 2}});
  CHECK(parse_json(R"([{"a":1},{"a":2}])").has_value());
  CHECK_FALSE(parse_json(R"([{"a":{"b":1,"b":1}}])").has_value());
  CHECK_FALSE(parse_json(R"({"a":1,"\u0061":1})").has_value());
  CHECK(parse_json("{\"" + std::string(10'000, 'k') + "\":1,\"" + std::string(10'000, 'k') + "\":1}")
            .error()
            .message.size() < 200);
}

TEST_CASE("a whole number is one as it is written, and fits") {
  CHECK(whole_of(json(5)) == 5);
  CHECK(whole_of(json(-5)) == -5);
  CHECK(whole_of(json(INT64_MAX)) == INT64_MAX);
  for (const char* text : {"1.5", "1.0", "1e300", "-1e300", "9223372036854775808", "18446744073709551615",
                           "true", "null", "\"5\""}) {
    CAPTURE(text);
    CHECK_THROWS_AS(whole_of(*parse_json(text)), std::invalid_argument);
  }
}

TEST_CASE("values are written compactly, and bytes that are no text become U+FFFD") {
  CHECK(to_text(json::parse(R"( {"a" : [ 1 , 2.5 , null ] } )")) == R"({"a":[1,2.5,null]})");
  CHECK(to_text(json("a\xFFz")) == "\"a\xEF\xBF\xBDz\"");
}

TEST_CASE("a quoted text reads back as itself") {
  std::string every;
  for (int c = 0; c < 128; ++c) every += static_cast<char>(c);
  every += "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80";
  for (const std::string& text : {std::string(), std::string("plain"), std::string("\"\\\n"), every}) {
    CHECK(parse_json(json_string(text)).value() == json(text));
  }
  CHECK(json_string("tab\t\x01") == "\"tab\\t\\u0001\"");
  CHECK(json_string("a\xFF") == "\"a\xEF\xBF\xBD\"");
  CHECK(json_string(every).find('\n') == std::string::npos);
}

}  // namespace kurultai::json_text_test
