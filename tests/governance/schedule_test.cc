#include "governance/schedule.h"

#include <doctest/doctest.h>

namespace kurultai::schedule_test {
namespace {

using Act = Schedule::Act;
using namespace std::chrono_literals;

TEST_CASE("a task is submitted when it is due and the one before has ended") {
  for (const Overlap overlap : {Overlap::skip, Overlap::queue, Overlap::replace}) {
    Schedule schedule(overlap);
    for (int i = 0; i < 3; ++i) {
      CHECK((schedule.due() == Act::submit));
      schedule.started();
      CHECK((schedule.ended() == Act::nothing));
    }
    CHECK(schedule.missed() == 0);
  }
}

TEST_CASE("skip: moments pass while the one before runs, and are counted") {
  Schedule schedule(Overlap::skip);
  schedule.started();
  for (int i = 0; i < 5; ++i) CHECK((schedule.due() == Act::nothing));
  CHECK(schedule.missed() == 5);
  CHECK((schedule.ended() == Act::nothing));
  CHECK((schedule.due() == Act::submit));
}

TEST_CASE("queue: one waits for the end of the one before, however many were due") {
  Schedule schedule(Overlap::queue);
  schedule.started();
  for (int i = 0; i < 5; ++i) CHECK((schedule.due() == Act::nothing));
  CHECK(schedule.is_waiting());
  CHECK(schedule.missed() == 4);
  CHECK((schedule.ended() == Act::submit));
  schedule.started();
  CHECK((schedule.ended() == Act::nothing));
}

TEST_CASE("replace: the one before is cancelled once, and the next comes when it is gone") {
  Schedule schedule(Overlap::replace);
  schedule.started();
  CHECK((schedule.due() == Act::cancel));
  CHECK((schedule.due() == Act::nothing));  // it takes its time
  CHECK(schedule.missed() == 1);
  CHECK((schedule.ended() == Act::submit));
  CHECK(!schedule.is_waiting());
}

TEST_CASE("moments that nobody looked at, and refusals, are counted") {
  Schedule schedule(Overlap::queue);
  CHECK((schedule.due(7) == Act::submit));
  CHECK(schedule.missed() == 7);
  schedule.refused();
  CHECK(schedule.refusals() == 1);
  CHECK(!schedule.is_running());
}

TEST_CASE("the moments of an even row stay on it, however late somebody looks") {
  const TimePoint due{100s};
  const struct {
    Duration now, next;
    std::uint64_t missed;
  } table[] = {{99s, 100s, 0}, {100s, 110s, 0}, {109s, 110s, 0}, {110s, 120s, 1}, {153s, 160s, 5}};
  for (const auto& row : table) {
    CAPTURE(row.now.count());
    const NextMoment next = next_moment(due, 10s, TimePoint{row.now});
    CHECK((next.at == TimePoint{row.next}));
    CHECK(next.missed == row.missed);
  }
}

}  // namespace
}  // namespace kurultai::schedule_test
