#include "governance/wait_estimate.h"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

namespace kurultai {
namespace {

using namespace std::chrono_literals;

TEST_CASE("the wait follows from run time, tasks ahead and slots, in whole seconds") {
  const struct {
    std::vector<Duration> runs;
    std::size_t ahead;
    int slots;
    std::chrono::seconds answer;
  } table[] = {
      {{}, 100, 1, 1s},
      {{10s}, 0, 1, 1s},
      {{10s}, 1, 1, 10s},
      {{10s}, 5, 2, 25s},
      {{10001ms}, 1, 1, 11s},
      {{999ms}, 1, 1, 1s},
      {{1000ms}, 1, 1, 1s},
      {{1001ms}, 1, 1, 2s},
      {{0ms}, 5, 1, 1s},
      {{-5s}, 5, 1, 1s},
      {{10s}, 2, 0, 20s},
      {{10s}, 2, -1, 20s},
      {{3600s}, 1, 1, 3600s},
      {{3601s}, 1, 1, 3600s},
      {{1h}, std::numeric_limits<std::size_t>::max(), 1, 3600s},
      {{8s, 16s}, 1, 1, 9s},
      {{16s, 8s}, 1, 1, 15s},
      {{Duration::max()}, 1, 1, 3600s},
  };
  for (const auto& row : table) {
    WaitEstimate estimate;
    for (const Duration run : row.runs) estimate.finished(run);
    CAPTURE(row.ahead);
    CAPTURE(row.slots);
    CHECK(estimate.retry_after(row.ahead, row.slots) == row.answer);
  }
}

TEST_CASE("the last runs count most") {
  WaitEstimate estimate;
  for (int i = 0; i < 100; ++i) estimate.finished(100s);
  for (int i = 0; i < 8; ++i) estimate.finished(2s);
  const auto soon = estimate.retry_after(1, 1);
  CHECK(soon > 30s);
  CHECK(soon < 40s);
  for (int i = 0; i < 80; ++i) estimate.finished(2s);
  CHECK(estimate.retry_after(1, 1) == 3s);
}

}  // namespace
}  // namespace kurultai
