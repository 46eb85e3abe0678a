#include "tools/kurultai/payload.h"

#include <doctest/doctest.h>

namespace kurultai::payload_test {

TEST_CASE("a payload keeps the text that was written") {
  CHECK(read_payload("")->empty());
  CHECK(*read_payload("{\"n\": 12345678901234567890123}") == "{\"n\": 12345678901234567890123}");
  CHECK(*read_payload("7") == "7");
}

TEST_CASE("a payload that is no JSON is refused before anything is sent, with the place of the mistake") {
  const auto payload = read_payload("{\"a\": }");
  REQUIRE_FALSE(payload);
  CHECK(payload.error().status == ExitStatus::usage);
  CHECK(payload.error().text.starts_with("payload is no JSON: --payload: "));
  CHECK(payload.error().text.find("byte") != std::string::npos);
}

TEST_CASE("a payload file that cannot be read is named") {
  const auto missing = read_payload("@/nowhere/payload.json");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().text == "payload /nowhere/payload.json: No such file or directory");
}

TEST_CASE("an empty payload file is named") {
  const auto empty = read_payload("@/dev/null");
  REQUIRE_FALSE(empty);
  CHECK(empty.error().text == "payload /dev/null is empty; write null for a task without a payload");
}

TEST_CASE("a directory is no payload") {
  const auto directory = read_payload("@/");
  REQUIRE_FALSE(directory);
  CHECK(directory.error().text == "payload /: Is a directory");
}

}  // namespace kurultai::payload_test
