#include "governance/reading_pace.h"

#include <doctest/doctest.h>

namespace kurultai::reading_pace_test {
namespace {

using namespace std::chrono_literals;

TEST_CASE("how soon memory is read again") {
  const struct {
    bool events;
    bool worker;
    int raw;  // per mille of the budget
    int used;
    Duration tick;
    Duration answer;
  } table[] = {
      // With kernel events: nothing to do below the lowest mark less hysteresis, 600.
      {true, true, 0, 0, 5s, 5s},
      {true, true, 599, 599, 5s, 5s},
      {true, true, 600, 600, 5s, 10ms},
      {true, true, 601, 450, 5s, 10ms},
      {true, true, 600, 449, 5s, 50ms},
      {true, true, 1000, 0, 5s, 50ms},
      {true, true, 1000, 960, 5s, 10ms},
      {true, false, 599, 0, 5s, 5s},
      {true, false, 700, 100, 5s, 50ms},
      {true, true, 100, 700, 5s, 10ms},  // swapped out
      // Without: by how near the working set is to the lowest threshold, 700 - 250.
      {false, true, 0, 0, 5s, 50ms},
      {false, true, 1000, 449, 5s, 50ms},
      {false, true, 450, 450, 5s, 10ms},
      {false, true, 451, 451, 5s, 10ms},
      {false, true, 990, 990, 5s, 10ms},
      {false, false, 0, 0, 5s, 5s},
      {false, false, 449, 449, 5s, 5s},
      {false, false, 800, 800, 5s, 10ms},
      // A slow tick that is the quicker one is kept.
      {false, true, 0, 0, 20ms, 20ms},
      {false, true, 900, 900, 5ms, 5ms},
      {true, true, 700, 0, 20ms, 20ms},
  };
  for (const auto& row : table) {
    CAPTURE(row.events);
    CAPTURE(row.worker);
    CAPTURE(row.raw);
    CAPTURE(row.used);
    const PaceInput input{{row.raw}, {row.used}, {1000}, row.events, row.worker, row.tick};
    CHECK(next_reading_in(input, Thresholds{}) == row.answer);
  }
}

TEST_CASE("without a budget memory in use is near the line") {
  CHECK(next_reading_in({.raw = {1}, .used = {1}, .budget = {0}}, Thresholds{}) == 10ms);
  CHECK(next_reading_in({.raw = {0}, .used = {0}, .budget = {0}}, Thresholds{}) == 5s);
}

}  // namespace
}  // namespace kurultai::reading_pace_test
