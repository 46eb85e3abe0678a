#include "supervisor/gateway/byte_range.h"

#include <doctest/doctest.h>

namespace kurultai::byte_range_test {

namespace {

AskedRange part(std::int64_t first, std::int64_t length) { return {RangeAnswer::part, {first, length}}; }
const AskedRange whole{};
const AskedRange unsatisfiable{RangeAnswer::unsatisfiable};

}  // namespace

TEST_CASE("one range of bytes") {
  CHECK(asked_range("bytes=0-9", 100) == part(0, 10));
  CHECK(asked_range("bytes=99-99", 100) == part(99, 1));
  CHECK(asked_range("bytes=10-", 100) == part(10, 90));
  CHECK(asked_range("bytes=-10", 100) == part(90, 10));
  CHECK(asked_range("bytes=0-0", 1) == part(0, 1));
}

TEST_CASE("a range beyond the end is cut, one behind it cannot be had") {
  CHECK(asked_range("bytes=50-1000", 100) == part(50, 50));
  CHECK(asked_range("bytes=50-99999999999999999999", 100) == part(50, 50));
  CHECK(asked_range("bytes=-1000", 100) == part(0, 100));
  CHECK(asked_range("bytes=100-", 100) == unsatisfiable);
  CHECK(asked_range("bytes=99999999999999999999-", 100) == unsatisfiable);
  CHECK(asked_range("bytes=-0", 100) == unsatisfiable);
  CHECK(asked_range("bytes=0-", 0) == unsatisfiable);
  CHECK(asked_range("bytes=-5", 0) == unsatisfiable);
}

TEST_CASE("what is no single range of bytes gives all of it") {
  for (const char* header :
       {"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes=9-1", "bytes=1-2,4-5", "bytes= 1-2",
        "bytes=1 -2", "bytes=+1-2", "lines=1-2", "bytes=1--2", "bytes=--1"}) {
    CAPTURE(header);
    CHECK(asked_range(header, 100) == whole);
  }
}

}  // namespace kurultai::byte_range_test
