#include "tools/kurultai/run/progress.h"

#include <doctest/doctest.h>

namespace kurultai::progress_test {

TEST_CASE("the progress line names what is known and leaves out the rest") {
  ProgressFigures figures{
      .done = 3, .running = 2, .queued = 5, .failed = 1, .used = {}, .budget = gibibytes(1), .left = {}};
  CHECK(progress_line(figures) == "3 done, 2 running, 5 queued, 1 failed");
  figures.used = mebibytes(612);
  figures.left = Duration(12'000);
  CHECK(progress_line(figures) ==
        "3 done, 2 running, 5 queued, 1 failed | memory 612MiB of 1GiB | ~12s left");
}

TEST_CASE("the time left follows the pace so far") {
  CHECK_FALSE(time_left(0, 10, Duration(5000)));
  CHECK(time_left(5, 10, Duration(5000)) == Duration(5000));
  CHECK(time_left(1, 101, Duration(100)) == Duration(10'000));
  CHECK(time_left(10, 10, Duration(5000)) == Duration(0));
}

}  // namespace kurultai::progress_test
