#include "protocol/json_scanner.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace kurultai::json_scanner_test {

namespace {

bool accepts(std::string_view text) {
  JsonScanner scanner;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (scanner.step(text[at]) == JsonScanner::Event::broken) return false;
    at += scanner.plain_run(text.substr(at + 1));
  }
  return scanner.is_complete();
}

struct Seen {
  JsonScanner::Event event;
  int depth;
  std::string key;
  bool operator==(const Seen&) const = default;
};

std::vector<Seen> events_of(std::string_view text) {
  JsonScanner scanner;
  std::vector<Seen> seen;
  for (const char c : text) {
    const auto event = scanner.step(c);
    if (event != JsonScanner::Event::none) seen.push_back({event, scanner.depth(), scanner.key()});
  }
  return seen;
}

}  // namespace

TEST_CASE("a scanner takes what is JSON and nothing else") {
  for (const char* good :
       {"{}", "[]", " { } ", "[1]", "[-0]", "[0.5,1e9,-1.25E-3,10]", R"(["a","","\"\\\/\b\f\n\r\t\u00e4"])",
        R"({"a":{"b":[true,false,null]},"c":""})", "[[],{}]", "\"text\"", "true",
        "[\"\xc3\xa4\xf0\x9f\x98\x80\"]", "[1 , 2]", "{\"a\" : 1 , \"b\":2}"}) {
    CAPTURE(good);
    CHECK(accepts(good));
    CHECK(parse_json(good).has_value());
  }
  for (const char* bad : {"",
                          " ",
                          "{",
                          "[",
                          "}",
                          "{]",
                          "[}",
                          "[1,]",
                          "[,1]",
                          "{,}",
                          "{\"a\"}",
                          "{\"a\":}",
                          "{\"a\":1,}",
                          "{a:1}",
                          "{1:1}",
                          "[01]",
                          "[1.]",
                          "[.5]",
                          "[+1]",
                          "[1e]",
                          "[1e+]",
                          "[-]",
                          "[--1]",
                          "[1.5.5]",
                          "[tru]",
                          "[truee]",
                          "[nul]",
                          "[\"a]",
                          "[\"\\x\"]",
                          "[\"\\u12g4\"]",
                          "[\"\n\"]",
                          "[1]1",
                          "[1] x",
                          "{}{}",
                          "[1 2]",
                          "[\"a\" \"b\"]",
                          "[\"\xff\"]",
                          "[\"\xc3\"]",
                          "[\"\xc3(\"]",
                          "[\"\xe0\x80\x80\"]",
                          "[\"\xed\xa0\x80\"]",
                          "[\"\xf4\x90\x80\x80\"]",
                          "[\"\xc0\x80\"]"}) {
    CAPTURE(bad);
    CHECK_FALSE(accepts(bad));
    CHECK_FALSE(parse_json(bad).has_value());
  }
}

TEST_CASE("a scanner and the parser agree on texts that were damaged") {
  const std::string text =
      R"({"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"\u00e4 \"x\""}],"n":-1.5e3,"b":true}})";
  std::mt19937 random(7);
  const std::string bytes = "{}[]\",:\\ue1-.0tfn \xc3\xa4";
  for (int round = 0; round < 20000; ++round) {
    std::string damaged = text;
    for (int changes = 1 + static_cast<int>(random() % 3); changes > 0; --changes) {
      const std::size_t at = random() % damaged.size();
      if (random() % 2 == 0) {
        damaged.erase(at, 1);
      } else {
        damaged[at] = bytes[random() % bytes.size()];
      }
    }
    // Half of a surrogate pair in an escape is refused by the parser alone.
    if (damaged.find("\\ud") != std::string::npos) continue;
    CAPTURE(damaged);
    const auto parsed = parse_json(damaged, DuplicateKeys::last_wins);
    CHECK(accepts(damaged) == parsed.has_value());
  }
}

TEST_CASE("a scanner tells where members begin and end") {
  using enum JsonScanner::Event;
  CHECK(events_of(R"({"a":1,"b":{"c":[2,3]}})") == std::vector<Seen>{{colon, 1, "a"},
                                                                     {comma, 1, "a"},
                                                                     {colon, 1, "b"},
                                                                     {colon, 2, "c"},
                                                                     {comma, 3, "c"},
                                                                     {closed, 2, "c"},
                                                                     {closed, 1, "c"},
                                                                     {closed, 0, "c"}});
  CHECK(events_of("[]]").back().event == broken);
  CHECK(events_of("{\"" + std::string(1000, 'k') + "\":1}").front().key == std::string(64, 'k'));
}

TEST_CASE("a scanner goes on below the deepest level, and says so") {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  JsonScanner deep;
  for (const char c : "{\"a\":" + nested(max_json_depth - 1) + ",\"b\":1}") deep.step(c);
  CHECK_FALSE(deep.is_too_deep());
  CHECK(deep.is_complete());
  JsonScanner deeper;
  std::vector<std::string> keys;
  for (const char c : "{\"a\":" + nested(100'000) + R"(,"b":[[{"]}\"":1}]],"c":2})") {
    if (deeper.step(c) == JsonScanner::Event::colon && deeper.depth() == 1) keys.push_back(deeper.key());
  }
  CHECK(deeper.is_too_deep());
  CHECK(deeper.is_complete());
  CHECK(keys == std::vector<std::string>{"a", "b", "c"});
}

}  // namespace kurultai::json_scanner_test
