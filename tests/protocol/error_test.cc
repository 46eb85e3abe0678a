#include "protocol/error.h"

#include <doctest/doctest.h>

#include <cerrno>

namespace kurultai::error_test {

TEST_CASE("a failed call is named with its object, its cause and its errno") {
  const Result<int> result = system_failure("open /proc/1/statm", EACCES);
  CHECK(result.error().message == "open /proc/1/statm: Permission denied");
  CHECK(result.error().code == EACCES);
}

TEST_CASE("a failure without a call has no errno") {
  const Result<int> result = failure("no room");
  CHECK(result.error().message == "no room");
  CHECK(result.error().code == 0);
}

}  // namespace kurultai::error_test
