#include "protocol/utf8.h"

#include <doctest/doctest.h>

#include <string>

namespace kurultai::utf8_test {

namespace {

const std::string replacement = "\xEF\xBF\xBD";

}  // namespace

TEST_CASE("well formed text is UTF-8, at the edges of every length") {
  for (const std::string& text : std::initializer_list<std::string>{
           "", "plain", std::string("\0", 1), "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF",
           "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF3\xBF\xBF\xBF", "\xF4\x8F\xBF\xBF",
           "eight bytes and then \xE2\x82\xAC and more than eight bytes"}) {
    CAPTURE(text);
    CHECK(is_utf8(text));
    CHECK(to_utf8(text) == text);
  }
}

TEST_CASE("malformed bytes are no UTF-8, and each becomes one U+FFFD") {
  struct Row {
    std::string why;
    std::string bytes;
    std::string repaired;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"lone continuation", "a\x80z", "a" + replacement + "z"},
           {"overlong slash", "\xC0\xAF", replacement + replacement},
           {"overlong of three", "\xE0\x9F\xBF", replacement + replacement + replacement},
           {"overlong of four", "\xF0\x8F\xBF\xBF", replacement + replacement + replacement + replacement},
           {"surrogate", "\xED\xA0\x80", replacement + replacement + replacement},
           {"above U+10FFFF", "\xF4\x90\x80\x80", replacement + replacement + replacement + replacement},
           {"no such lead", "\xF5\xFFz", replacement + replacement + "z"},
           {"cut at the end", "a\xE2\x82", "a" + replacement + replacement},
           {"cut in the middle", "\xE2\x82z", replacement + replacement + "z"},
           {"cut two", "\xC3(", replacement + "("},
           {"cut four", "\xF0\x9F\x98z", replacement + replacement + replacement + "z"},
       }) {
    CAPTURE(row.why);
    CHECK_FALSE(is_utf8(row.bytes));
    CHECK(to_utf8(row.bytes) == row.repaired);
    CHECK(is_utf8(to_utf8(row.bytes)));
  }
}

TEST_CASE("one wrong byte is found at every place of a long text") {
  const std::string text(40, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string broken = text;
    broken[i] = '\xFF';
    CHECK_FALSE(is_utf8(broken));
  }
}

TEST_CASE("a prefix ends between two characters, and is as long as it may be") {
  const std::string text = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z";  // 1 + 2 + 3 + 4 + 1 bytes
  const std::size_t lengths[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
  for (std::size_t limit = 0; limit < std::size(lengths); ++limit) {
    CAPTURE(limit);
    CHECK(utf8_prefix(text, limit) == text.substr(0, lengths[limit]));
  }
}

TEST_CASE("a prefix of bytes that are no text is cut at the limit") {
  CHECK(utf8_prefix(std::string(100, '\x80'), 50).size() == 50);
  CHECK(utf8_prefix(std::string(10, '\x80'), 2).size() == 2);
}

}  // namespace kurultai::utf8_test
