#include "tools/kurultai/mcp/progress.h"

#include <doctest/doctest.h>

namespace kurultai::mcp_progress_test {

TEST_CASE("percent that grows is told, and what falls back is not") {
  ProgressTold told;
  CHECK(told.next(25, "a") == ProgressNote{25, 100.0, "a"});
  CHECK_FALSE(told.next(25, "b"));
  CHECK_FALSE(told.next(10, "another attempt"));
  CHECK(told.next(25.5, "") == ProgressNote{25.5, 100.0, ""});
}

TEST_CASE("without percent the steps are counted") {
  ProgressTold told;
  CHECK_FALSE(told.next(0, ""));
  CHECK(told.next(0, "reading") == ProgressNote{1, std::nullopt, "reading"});
  CHECK_FALSE(told.next(0, "reading"));
  CHECK(told.next(0, "writing") == ProgressNote{2, std::nullopt, "writing"});
  CHECK(told.next(50, "half") == ProgressNote{50, 100.0, "half"});
}

}  // namespace kurultai::mcp_progress_test
