#include "tools/kurultai/text.h"

#include <doctest/doctest.h>

namespace kurultai::text_test {
using std::chrono::milliseconds;

TEST_CASE("durations are short to read") {
  const std::pair<std::int64_t, const char*> rows[] = {
      {-5, "0ms"},         {0, "0ms"},         {999, "999ms"},        {1500, "1.5s"},     {9949, "9.9s"},
      {9950, "10s"},       {59'400, "59s"},    {60'000, "1m"},        {200'000, "3m20s"}, {3'600'000, "1h"},
      {7'500'000, "2h5m"}, {86'400'000, "1d"}, {273'600'000, "3d4h"},
  };
  for (const auto& [ms, text] : rows) CHECK(brief(Duration(ms)) == text);
}

TEST_CASE("sizes are short to read") {
  const std::pair<std::int64_t, const char*> rows[] = {
      {0, "0B"},
      {1023, "1023B"},
      {1024, "1KiB"},
      {1536, "1.5KiB"},
      {12'345'678, "11.8MiB"},
      {536'870'912, "512MiB"},
      {1'073'741'823, "1GiB"},
      {314'572'801, "300MiB"},
      {-2048, "-2KiB"},
  };
  for (const auto& [count, text] : rows) CHECK(brief(Bytes{count}) == text);
}

TEST_CASE("moments are read back, and other texts are not") {
  const auto moment = parse_rfc3339("2026-03-01T12:00:00.250Z");
  REQUIRE(moment);
  CHECK(to_rfc3339(*moment) == "2026-03-01T12:00:00.250Z");
  CHECK(parse_rfc3339("1970-01-01T00:00:01Z") == WallTime(std::chrono::seconds(1)));
  for (const char* text : {"", "yesterday", "2026-03-01", "2026-03-01T12:00:00", "2026-03-01T12:00:00+01:00",
                           "2026-03-01T12:00:00Z+01:00", "2026-03-01T12:00:00.1e300Z",
                           "4406-03-01T12:00:00.000Z", "1000-01-01T00:00:00Z"}) {
    CHECK_FALSE(parse_rfc3339(text));
  }
}

TEST_CASE("an age is the time since then, never negative") {
  const auto now = *parse_rfc3339("2026-03-01T12:00:00.000Z");
  CHECK(age("2026-03-01T11:58:30.000Z", now) == "1m30s");
  CHECK(age("2026-03-01T12:00:01.000Z", now) == "0ms");
  CHECK(age("", now) == "-");
}

TEST_CASE("text of others is one line without control characters") {
  CHECK(printable("a\tb\r\nc\x7f") == "a b  c ");
  CHECK(printable("\x1b]0;title\a") == " ]0;title ");
  CHECK(printable("a\xc2\x9b"
                  "31m") == "a 31m");
  CHECK(printable("caf\xc3\xa9") == "caf\xc3\xa9");
  CHECK(printable("\xff") == "\xef\xbf\xbd");
  CHECK(printable("a\u200eb\u202ec\u2066d\u2069") == "a b c d ");
  CHECK(printable("\u2014\u2070\u2026") == "\u2014\u2070\u2026");
}

TEST_CASE("long text is cut at a character") {
  CHECK(shorten("abc", 3) == "abc");
  CHECK(shorten("abcd", 3) == "ab…");
  CHECK(shorten("ääää", 3) == "ää…");
  CHECK(shorten("", 3).empty());
}

TEST_CASE("a command is named by its words") {
  CHECK(command_label({"python3", "crawl.py", "b"}, "b") == "python3 crawl.py b");
  CHECK(command_label({"python3", "crawl.py"}, "") == "python3 crawl.py");
  const std::string many(100'000, 'x');
  CHECK(width(command_label({"echo", many}, "")) == 80);
  CHECK(width(command_label({"echo", many}, many)) == 80);
}

TEST_CASE("a long command is named by its beginning and its argument, wherever that stands in it") {
  const std::string label =
      command_label({"sh", "-c", std::string(100, 'x') + " b " + std::string(100, 'y')}, "b");
  CHECK(label == "sh -c " + std::string(71, 'x') + "… b");
  CHECK(width(label) == 80);
}

TEST_CASE("a path segment keeps only what is unreserved") {
  CHECK(url_escaped("a-Z_0.~") == "a-Z_0.~");
  CHECK(url_escaped("../a b?\xc3\xa9") == "..%2Fa%20b%3F%C3%A9");
}

}  // namespace kurultai::text_test
