#include "governance/machine_room.h"

#include <doctest/doctest.h>

#include <vector>

namespace kurultai::machine_room_test {

namespace {

constexpr Bytes budget = mebibytes(400);
constexpr Bytes reserve = mebibytes(32);
constexpr Bytes total = mebibytes(512);

struct Look {
  int ms;
  int held, available;  // MiB
  int wanted;           // MiB in effect after it
};

void go(MachineRoom room, const std::vector<Look>& looks) {
  for (const Look& look : looks) {
    CAPTURE(look.ms);
    const TimePoint now{Duration(look.ms)};
    CHECK(room.update(mebibytes(look.held), {total, mebibytes(look.available)}, now) ==
          mebibytes(look.wanted));
    CHECK(room.budget() == mebibytes(look.wanted));
    CHECK(room.is_limited() == (mebibytes(look.wanted) < room.configured()));
  }
}

const MachineRoom usual({budget, reserve});

}  // namespace

TEST_CASE("what the machine can give above the budget changes nothing") {
  go(usual, {{0, 20, 450, 400}, {10, 300, 170, 400}, {20, 20, 412, 400}});
}

TEST_CASE("what we take and give back ourselves leaves the budget as it is") {
  go(usual, {{0, 20, 312, 300}, {10, 250, 82, 300}, {20, 300, 32, 300}, {30, 20, 312, 300}});
}

TEST_CASE("what others take is gone at once") {
  go(usual, {{0, 200, 260, 400}, {10, 200, 112, 280}, {20, 200, 32, 200}, {30, 200, 0, 168}});
}

TEST_CASE("a trembling reading changes nothing") {
  go(usual, {{0, 200, 112, 280},
             {10, 200, 107, 280},
             {20, 200, 115, 280},
             {30, 200, 106, 280},
             {40, 200, 105, 273}});
}

TEST_CASE("what comes back counts when it has stayed for a while, and the least that stayed") {
  go(usual, {{0, 100, 132, 200},
             {1000, 100, 232, 200},
             {2000, 100, 182, 200},
             {2999, 100, 232, 200},
             {3000, 100, 202, 200},  // as the first look of this time
             {4000, 100, 182, 200},
             {6000, 100, 202, 250},
             {7000, 100, 500, 250},
             {9000, 100, 500, 270},  // as at the first look of this time
             {12'000, 100, 500, 400}});
}

TEST_CASE("others that come in waves do not make it flap") {
  MachineRoom room = usual;
  int changes = 0;
  Bytes before = room.budget();
  for (int ms = 0; ms < 60'000; ms += 100) {
    const bool high = ms / 1000 % 2 == 0;
    const Bytes now =
        room.update(mebibytes(50), {total, mebibytes(high ? 300 : 150)}, TimePoint{Duration(ms)});
    changes += now != before ? 1 : 0;
    before = now;
  }
  CHECK(changes == 2);  // to the high one first, and then to the low one
  CHECK(before == mebibytes(168));
}

TEST_CASE("it is never less than the least") { go(usual, {{0, 12, 3, 16}, {10, 0, 0, 16}}); }

TEST_CASE("a budget of all the machine leaves the reserve to others, whatever is available") {
  go(MachineRoom({total, reserve}), {{0, 20, 500, 480}, {10, 20, 400, 388}});
}

TEST_CASE("without a reserve the machine is not looked at") {
  MachineRoom room({budget, {}});
  CHECK(room.update(mebibytes(10), {total, mebibytes(1)}, TimePoint{}) == budget);
  CHECK_FALSE(room.is_limited());
}

TEST_CASE("settings take effect at once") {
  MachineRoom room = usual;
  room.update(mebibytes(100), {total, mebibytes(132)}, TimePoint{});
  CHECK(room.budget() == mebibytes(200));
  room.configure({mebibytes(150), reserve});
  CHECK(room.budget() == mebibytes(150));
  room.configure({mebibytes(512), mebibytes(64)});
  CHECK(room.budget() == mebibytes(168));
  room.configure({mebibytes(512), {}});
  CHECK(room.budget() == mebibytes(512));
}

TEST_CASE("the usual reserve is a sixteenth, within bounds") {
  CHECK(usual_machine_reserve(mebibytes(256)) == mebibytes(32));
  CHECK(usual_machine_reserve(gibibytes(4)) == mebibytes(256));
  CHECK(usual_machine_reserve(gibibytes(64)) == gibibytes(1));
}

TEST_CASE("the next look comes before half of what is available can be gone") {
  CHECK(next_machine_look_in({}) == Duration(10));
  CHECK(next_machine_look_in(mebibytes(40)) == Duration(10));
  CHECK(next_machine_look_in(mebibytes(400)) == Duration(104));
  CHECK(next_machine_look_in(gibibytes(8)) == Duration(2147));
}

TEST_CASE("where a container is far smaller than the budget its own size is what steps go by") {
  MachineRoom room({gibibytes(24), reserve});
  const auto at = [&](int ms, int available) {
    return room.update(mebibytes(100), {total, mebibytes(available)}, TimePoint(Duration(ms)));
  };
  CHECK(at(0, 412) == mebibytes(480));
  CHECK(at(10, 400) == mebibytes(468));
  CHECK(at(20, 100) == mebibytes(168));
}

}  // namespace kurultai::machine_room_test
