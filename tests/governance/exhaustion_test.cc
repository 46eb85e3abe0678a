#include "governance/exhaustion.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "governance/governor.h"

namespace kurultai::exhaustion_test {
namespace {

using namespace std::chrono_literals;

const TimePoint start{1h};
constexpr Bytes budget = mebibytes(1000);

Candidate holder(std::string id, Priority priority, std::int64_t mib) {
  return {.task_id = std::move(id),
          .priority = priority,
          .memory = mebibytes(mib),
          .most = budget,
          .grace = 5s,
          .may_leave_early = true};
}

Candidate grower(std::string id, Priority priority, std::int64_t mib, std::int64_t mib_a_second,
                 Duration lasted = 60s) {
  Candidate task = holder(std::move(id), priority, mib);
  task.growth = {mebibytes(mib_a_second), lasted};
  return task;
}

// MiB of a budget of 1000: the kill threshold is at 950, the preempt threshold at 850.
struct Scene {
  std::vector<Candidate> running;
  Bytes idle = {}, ending = {};
  std::optional<Duration> to_act = 1s;
  Governor governor{Thresholds{}};

  Situation situation(int mib) const {
    Situation situation{mebibytes(mib), budget, running, idle, ending};
    situation.time_to_act = to_act;
    return situation;
  }
  std::optional<Foresight> foreseen(int mib) const { return foresee(situation(mib), Thresholds{}, start); }
  std::string victims(int mib) const {
    const auto seen = foreseen(mib);
    if (!seen) return "nothing foreseen";
    std::string ids;
    for (const Candidate* victim : seen->victims) ids += victim->task_id;
    return ids;
  }
};

TEST_CASE("somebody gives way when less time is left than to act and his grace") {
  // 50 MiB a second: the six seconds that are needed are 300 MiB.
  const struct {
    int mib;
    bool foreseen;
  } table[] = {{0, false},  {500, false}, {649, false}, {650, true},  {700, true},
               {799, true}, {800, false}, {849, false}, {850, false}, {950, false}};
  for (const auto& row : table) {
    CAPTURE(row.mib);
    const Scene scene{.running = {grower("a", Priority::low, 300, 50), holder("b", Priority::high, 100)}};
    const auto seen = scene.foreseen(row.mib);
    CHECK(seen.has_value() == row.foreseen);
    if (!seen) continue;
    CHECK(seen->prediction.growth_per_second == mebibytes(50));
    CHECK(seen->prediction.left == Duration((950 - row.mib) * 1000 / 50));
    CHECK(seen->prediction.to_act == 1s);
    CHECK(seen->prediction.grace == 5s);
  }
}

TEST_CASE("the least important gives way, whoever grows") {
  Scene scene{.running = {grower("g", Priority::high, 300, 50), holder("l", Priority::low, 200),
                          holder("n", Priority::normal, 100)}};
  CHECK(scene.victims(700) == "l");
  scene.running[1].grace = 1s;  // who would leave soon need not leave yet
  CHECK(scene.victims(700) == "nothing foreseen");
}

TEST_CASE("as many give way as growth needs, and no more") {
  Scene scene{.running = {grower("g", Priority::critical, 300, 50), holder("a", Priority::low, 20),
                          holder("b", Priority::low, 10), holder("c", Priority::normal, 100)}};
  CHECK(scene.victims(655) == "a");
  CHECK(scene.victims(675) == "ab");
  CHECK(scene.victims(690) == "abc");
  CHECK(scene.victims(780) == "abcg");
}

TEST_CASE("who may not leave early is waited for, and nobody more important leaves in his place") {
  Scene scene{.running = {grower("g", Priority::high, 300, 50), holder("l", Priority::low, 200)}};
  scene.running[1].may_leave_early = false;
  CHECK(scene.victims(700) == "nothing foreseen");
  scene.running[1].may_leave_early = true;
  scene.running[1].preemptable = false;  // it is passed over at the threshold too
  CHECK(scene.victims(700) == "g");
  scene.running[1].preemptable = true;
  scene.running[1].is_protected = true;
  CHECK(scene.victims(700) == "g");
}

TEST_CASE("growth is carried on no further than a third of what it lasted, and not beyond what is expected") {
  const auto with = [](Duration lasted, int most) {
    Scene scene{.running = {grower("a", Priority::low, 300, 50, lasted)}};
    scene.running[0].most = mebibytes(most);
    return scene.foreseen(700).has_value();
  };
  CHECK(with(15s, 1000));
  CHECK_FALSE(with(14s, 1000));
  CHECK_FALSE(with(60s, 540));
  CHECK(with(60s, 560));
}

TEST_CASE("memory that is on its way back counts as freed") {
  Scene scene{.running = {grower("g", Priority::high, 300, 50), holder("l", Priority::low, 200)}};
  CHECK(scene.victims(700) == "l");
  scene.running[1].back_by = start + 3s;
  CHECK(scene.victims(700) == "nothing foreseen");
  scene.running[1].back_by = start - 1s;  // it did not leave: the next
  CHECK(scene.victims(700) == "g");
  scene.running[1] = holder("l", Priority::low, 200);
  scene.ending = mebibytes(60);
  CHECK(scene.victims(700) == "nothing foreseen");
}

TEST_CASE("idle workers end first of all") {
  Scene scene{.running = {grower("g", Priority::high, 300, 50), holder("l", Priority::low, 200)},
              .idle = mebibytes(60)};
  CHECK(scene.victims(690).empty());
  CHECK(scene.victims(720) == "l");
  const auto actions = scene.governor.decide(scene.situation(690), start);
  REQUIRE(actions.size() == 3);
  CHECK(std::holds_alternative<Foreseen>(actions[0]));
  CHECK(std::get<HintPressure>(actions[1]).level == 2);
  CHECK_FALSE(std::get<EndIdleWorkers>(actions[2]).at_once);
}

TEST_CASE("nobody is killed for a prediction, and nothing is predicted where that is not wanted") {
  Scene scene{.running = {grower("g", Priority::low, 300, 5000)}};
  for (int mib = 300; mib < 950; mib += 10) {
    for (const Action& action : scene.governor.decide(scene.situation(mib), start))
      CHECK_FALSE(std::holds_alternative<KillTask>(action));
  }
  CHECK(std::holds_alternative<KillTask>(scene.governor.decide(scene.situation(950), start).back()));
  scene.to_act.reset();
  CHECK(scene.victims(700) == "nothing foreseen");
}

TEST_CASE("who stands still rather than being preempted does so early too") {
  Scene scene{.running = {grower("g", Priority::high, 300, 50), holder("l", Priority::low, 200)}};
  scene.running[1].suspendable = true;
  const auto actions = scene.governor.decide(scene.situation(700), start);
  CHECK(std::get<SuspendTask>(actions.back()).task_id == "l");
}

TEST_CASE("extreme figures stay figures") {
  constexpr Bytes huge{std::numeric_limits<std::int64_t>::max() / 4};
  Scene scene{.running = {grower("g", Priority::low, 300, 1)}};
  scene.running[0].growth = {huge, Duration::max()};
  scene.running[0].most = huge;
  REQUIRE(scene.foreseen(700).has_value());
  CHECK(scene.foreseen(700)->prediction.left == 1ms);
  scene.running[0].growth = {Bytes{}, 60s};
  CHECK_FALSE(scene.foreseen(700).has_value());
  CHECK_FALSE(foresee({}, Thresholds{}, start).has_value());
}

TEST_CASE("what was taken away stays free for those who grow, until they no longer need it") {
  Scene scene{.running = {grower("g", Priority::high, 300, 50), holder("l", Priority::low, 200)}};
  const auto decide = [&](int mib, Duration at) {
    return scene.governor.decide(scene.situation(mib), start + at);
  };
  CHECK(scene.governor.allows_start(Priority::low, true));
  decide(660, 0s);
  CHECK(scene.governor.keeps_room());
  CHECK_FALSE(scene.governor.allows_start(Priority::high, true));
  CHECK(scene.governor.allows_start(Priority::critical, true));
  CHECK(scene.governor.allows_start(Priority::low, false));
  scene.running.pop_back();
  CHECK(decide(510, 1s).empty());
  CHECK(scene.governor.keeps_room());
  scene.running[0].growth = {};
  const auto actions = decide(550, 2s);
  REQUIRE(actions.size() == 1);
  CHECK(std::holds_alternative<RoomAgain>(actions[0]));
  CHECK(scene.governor.allows_start(Priority::low, true));
}

struct Judged {
  std::uint64_t come_true, false_alarms, averted;
  bool operator==(const Judged&) const = default;
};

TEST_CASE("a prediction is judged by what memory did then") {
  // Foreseen at 700 with five seconds left: it is judged after ten.
  const auto judged = [](bool low_leaves, bool grower_leaves, int mib, Duration at) {
    Scene scene{.running = {grower("g", Priority::high, 300, 50), holder("l", Priority::low, 200)}};
    if (grower_leaves) scene.running[0].priority = Priority::heartbeat;
    REQUIRE(scene.governor.decide(scene.situation(700), start).size() > 1);
    for (Candidate& task : scene.running) task.growth = {};
    if (grower_leaves) scene.running.erase(scene.running.begin());
    if (low_leaves) scene.running.pop_back();
    scene.governor.decide(scene.situation(mib), start + at);
    const auto& counts = scene.governor.predictions().counts();
    return Judged{counts.come_true, counts.false_alarms, counts.averted};
  };
  CHECK(judged(false, false, 700, 9s) == Judged{0, 0, 0});
  CHECK(judged(false, false, 700, 10s) == Judged{0, 1, 0});  // it came to rest
  CHECK(judged(false, false, 849, 10s) == Judged{0, 1, 0});
  CHECK(judged(false, false, 850, 1s) == Judged{1, 0, 0});
  CHECK(judged(true, false, 640, 10s) == Judged{0, 1, 0});  // it would have been at 840
  CHECK(judged(true, false, 660, 10s) == Judged{1, 0, 0});
  CHECK(judged(false, true, 400, 10s) == Judged{0, 0, 1});
  CHECK(judged(false, true, 850, 10s) == Judged{1, 0, 0});
}

TEST_CASE("one prediction is open at a time, and its victims are kept once") {
  Scene scene{.running = {grower("g", Priority::high, 300, 50), holder("l", Priority::low, 200)}};
  for (int i = 0; i < 50; ++i) scene.governor.decide(scene.situation(700), start + Duration(100 * i));
  CHECK(scene.governor.predictions().to_be_freed() == mebibytes(200));
  scene.running.clear();
  scene.governor.decide(scene.situation(300), start + 10s);
  const auto& counts = scene.governor.predictions().counts();
  CHECK(counts.come_true + counts.false_alarms + counts.averted == 1);
}

TEST_CASE("the time to act is a second until it was measured, and then the longest of the newest eight") {
  TimeToAct time;
  CHECK(time.value() == 1s);
  time.note(3s, 5s);  // within its grace
  CHECK(time.value() == 100ms);
  time.note(7s, 5s);
  CHECK(time.value() == 2s);
  for (int i = 0; i < 7; ++i) time.note(300ms, 0s);
  CHECK(time.value() == 2s);
  time.note(300ms, 0s);
  CHECK(time.value() == 300ms);
}

}  // namespace
}  // namespace kurultai::exhaustion_test
