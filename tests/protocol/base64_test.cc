#include "protocol/base64.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

namespace kurultai::base64_test {

TEST_CASE("the examples of RFC 4648 hold in both directions") {
  const char* const rows[][2] = {{"", ""},
                                 {"f", "Zg=="},
                                 {"fo", "Zm8="},
                                 {"foo", "Zm9v"},
                                 {"foob", "Zm9vYg=="},
                                 {"fooba", "Zm9vYmE="},
                                 {"foobar", "Zm9vYmFy"}};
  for (const auto& row : rows) {
    CHECK(encode_base64(row[0]) == row[1]);
    CHECK(decode_base64(row[1]).value() == row[0]);
  }
  CHECK(decode_base64("+/+/").value() == "\xFB\xFF\xBF");
}

TEST_CASE("text that the encoder cannot have written is refused") {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "====", "=", "A===", "Zm9v\n", "Zm 9",
                           "Z=g=", "Zg==Zg==", "Zm9_", "Zm-v", "Zh==", "Zm9=", "Zm9vZm9\x80"}) {
    CAPTURE(text);
    const Result<std::string> bytes = decode_base64(text);
    REQUIRE_FALSE(bytes.has_value());
    CHECK(bytes.error().message.starts_with("base64: "));
  }
}

TEST_CASE("any bytes of any length come back") {
  std::mt19937 random(7);
  for (std::size_t size = 0; size < 200; ++size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() & 0xFF);
    CHECK(decode_base64(encode_base64(bytes)).value() == bytes);
  }
}

}  // namespace kurultai::base64_test
