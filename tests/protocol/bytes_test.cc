#include "protocol/bytes.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>

namespace kurultai::bytes_test {

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

}  // namespace

TEST_CASE("sizes are read in binary and decimal units, in any case") {
  struct Row {
    std::string text;
    std::int64_t count;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"0", 0},
           {"4096", 4096},
           {"4096B", 4096},
           {"64k", 65536},
           {"64K", 65536},
           {"64Ki", 65536},
           {"64kB", 64000},
           {"300M", 300LL << 20},
           {"300MB", 300'000'000},
           {"512MiB", 512LL << 20},
           {"512mib", 512LL << 20},
           {"512 MiB", 512LL << 20},
           {"1GiB", 1LL << 30},
           {"1Gi", 1LL << 30},
           {"1.5GiB", 3LL << 29},
           {"0.1GiB", 107374182},
           {"0.29kB", 290},
           {"2TiB", 2LL << 40},
           {"1PB", 1'000'000'000'000'000},
           {"7EiB", 7LL << 60},
           {"0.00000000000000000000000001GiB", 0},
           {"9223372036854775807", most},
       }) {
    CAPTURE(row.text);
    const Result<Bytes> bytes = parse_bytes(row.text);
    REQUIRE(bytes.has_value());
    CHECK(bytes->count == row.count);
  }
}

TEST_CASE("what is no size is refused with the text and the cause") {
  struct Row {
    std::string text;
    std::string cause;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"", "empty"},
           {"-5M", "negative"},
           {"+5M", "look like"},
           {"M", "look like"},
           {".5G", "look like"},
           {"5.G", "look like"},
           {"0x10", "look like"},
           {"1e3", "look like"},
           {"5M5", "look like"},
           {"5 M ", "look like"},
           {" 5M", "look like"},
           {"12Q", "unknown unit"},
           {"12MiBs", "unknown unit"},
           {"1.5", "fraction of a byte"},
           {"1.5B", "fraction of a byte"},
           {"8EiB", "too large"},
           {"7.99999999999999999999EiB", ""},
           {"9223372036854775808", "too large"},
           {"99999999999999999999999", "too large"},
       }) {
    CAPTURE(row.text);
    const Result<Bytes> bytes = parse_bytes(row.text);
    if (row.cause.empty()) {
      CHECK(bytes.has_value());
      continue;
    }
    REQUIRE_FALSE(bytes.has_value());
    CAPTURE(bytes.error().message);
    CHECK(bytes.error().message.starts_with('"' + std::string(row.text) + "\" is not a size: "));
    CHECK(bytes.error().message.find(row.cause) != std::string::npos);
  }
}

TEST_CASE("a long text is not repeated whole in the error") {
  CHECK(parse_bytes(std::string(100'000, 'x')).error().message.size() < 200);
}

TEST_CASE("sizes are written exactly where a short form is exact, else with one decimal") {
  struct Row {
    std::int64_t count;
    std::string text;
  };
  for (const Row& row : std::initializer_list<Row>{
           {0, "0B"},
           {100, "100B"},
           {1000, "1000B"},
           {1024, "1KiB"},
           {1025, "1025B"},
           {1536, "1.5KiB"},
           {4096, "4KiB"},
           {512LL << 20, "512MiB"},
           {1LL << 30, "1GiB"},
           {3LL << 29, "1.5GiB"},
           {1300LL << 20, "1300MiB"},
           {(345LL << 20) + 4096, "345.0MiB"},
           {1'000'000'000, "953.7MiB"},
           {1'503'238'553, "1.4GiB"},
           {(1LL << 30) - 1, "1.0GiB"},
           {(1LL << 40) - 1, "1.0TiB"},
           {7LL << 60, "7EiB"},
           {most, "8.0EiB"},
           {-(512LL << 20), "-512MiB"},
           {std::numeric_limits<std::int64_t>::min(), "-8EiB"},
       }) {
    CHECK(to_string(Bytes{row.count}) == row.text);
  }
}

TEST_CASE("a size written exactly reads back as itself") {
  for (const std::int64_t count : {0LL, 1LL, 1023LL, 1536LL, 5LL << 10, 1300LL << 20, 3LL << 29, 7LL << 60}) {
    CHECK(parse_bytes(to_string(Bytes{count})).value() == Bytes{count});
  }
}

TEST_CASE("sizes add, subtract and compare") {
  CHECK(mebibytes(1) + kibibytes(1) - mebibytes(1) == Bytes{1024});
  CHECK(gibibytes(1) > mebibytes(1023));
  CHECK(share_of(mebibytes(100), 0.85) == mebibytes(85));
  CHECK(share_of(mebibytes(100), std::numeric_limits<double>::quiet_NaN()) > gibibytes(1 << 20));
  CHECK(share_of(mebibytes(100), 1e300) > gibibytes(1 << 20));
  CHECK((Bytes{1} - Bytes{2}).count == -1);
}

}  // namespace kurultai::bytes_test
