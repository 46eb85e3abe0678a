#include "protocol/line_splitter.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace kurultai::line_splitter_test {

namespace {

const std::string too_long = "<too long>";

struct Reader {
  explicit Reader(std::size_t max_line) : splitter(max_line) {}

  void feed(std::string_view bytes) {
    splitter.feed(bytes, [this](LineSplitter::Line line) {
      lines.push_back(line.kind == LineSplitter::Kind::too_long ? too_long : std::string(line.text));
      return true;
    });
  }

  LineSplitter splitter;
  std::vector<std::string> lines;
};

std::vector<std::string> lines_of(std::string_view bytes, std::size_t max_line) {
  Reader reader(max_line);
  reader.feed(bytes);
  return reader.lines;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a stream is cut at newlines, and the return before one is no part of the line") {
  CHECK(lines_of("a\nbc\r\n\n\r\nd\re\r\r\n", 100) == Lines{"a", "bc", "", "", "d\re\r"});
  CHECK(lines_of("no newline", 100) == Lines{});
  CHECK(lines_of("", 100) == Lines{});
}

TEST_CASE("a line may have as many bytes as the limit, whatever its end") {
  CHECK(lines_of("12345678\n", 8) == Lines{"12345678"});
  CHECK(lines_of("12345678\r\n", 8) == Lines{"12345678"});
  CHECK(lines_of("123456789\n", 8) == Lines{too_long});
  CHECK(lines_of("123456789\r\n", 8) == Lines{too_long});
  CHECK(lines_of("12345678\rx\n", 8) == Lines{too_long});
  CHECK(lines_of("12345678\r\r\n", 8) == Lines{too_long});
}

TEST_CASE("a line that is too long is told once, before its end, and the next one is read again") {
  Reader reader(8);
  reader.feed("123456");
  CHECK(reader.lines.empty());
  reader.feed("789");
  CHECK(reader.lines == Lines{too_long});
  reader.feed("more of it");
  reader.feed("and its end\nnext\n");
  CHECK(reader.lines == Lines{too_long, "next"});
}

TEST_CASE("one endless line is never kept") {
  Reader reader(8);
  for (int i = 0; i < 100; ++i) reader.feed("0123456789");
  CHECK(reader.lines == Lines{too_long});
  CHECK(reader.splitter.rest().empty());
}

TEST_CASE("however the reads are cut, the lines are the same") {
  using namespace std::string_literals;
  const std::string stream =
      "{\"type\":\"PONG\"}\n\n\r\nbinary \0\xFF\x80\x01 end\r\n12345678901234567890\n12345678901234567890\r\n"
      "123456789012345678901\n123456789012345678901\r\nmuch longer than the limit of twenty bytes\r\n\n"
      "\r\r\n12345678901234567890\r\r\n\xC3\xA4\xE2\x82\xAC\nlast"s;
  const Lines whole = lines_of(stream, 20);
  REQUIRE(whole.size() == 13);
  CHECK(whole.front() == "{\"type\":\"PONG\"}");

  SUBCASE("in two") {
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
      CAPTURE(cut);
      Reader reader(20);
      reader.feed(std::string_view(stream).substr(0, cut));
      reader.feed(std::string_view(stream).substr(cut));
      CHECK(reader.lines == whole);
      CHECK(reader.splitter.rest() == "last");
    }
  }
  SUBCASE("in three") {
    for (std::size_t first = 0; first <= stream.size(); ++first) {
      for (std::size_t second = first; second <= stream.size(); ++second) {
        Reader reader(20);
        reader.feed(std::string_view(stream).substr(0, first));
        reader.feed(std::string_view(stream).substr(first, second - first));
        reader.feed(std::string_view(stream).substr(second));
        if (reader.lines != whole) FAIL("cut at " << first << " and " << second);
      }
    }
  }
  SUBCASE("in pieces of one size") {
    for (std::size_t size = 1; size <= stream.size(); ++size) {
      Reader reader(20);
      for (std::size_t at = 0; at < stream.size(); at += size) {
        reader.feed(std::string_view(stream).substr(at, size));
      }
      CHECK(reader.lines == whole);
    }
  }
}

TEST_CASE("what stands after the last newline is kept as the rest") {
  Reader reader(100);
  reader.feed("a\nwithout");
  reader.feed(" end");
  CHECK(reader.splitter.rest() == "without end");
}

TEST_CASE("a taker that stops gets nothing more of these bytes") {
  LineSplitter splitter(100);
  Lines lines;
  const auto take_one = [&lines](LineSplitter::Line line) {
    lines.emplace_back(line.text);
    return false;
  };
  splitter.feed("a\nb\nc", take_one);
  CHECK(lines == Lines{"a"});
  CHECK(splitter.rest().empty());
}

TEST_CASE("a long line that arrived in pieces comes whole") {
  Reader reader(1 << 20);
  const std::string half(300'000, 'x');
  reader.feed(half);
  reader.feed(half);
  reader.feed("\nshort\n");
  CHECK(reader.lines == Lines{half + half, "short"});
}

}  // namespace kurultai::line_splitter_test
