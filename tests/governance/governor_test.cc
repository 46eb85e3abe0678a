#include "governance/governor.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace kurultai::governor_test {
namespace {

using namespace std::chrono_literals;

const TimePoint start{1h};

std::string text_of(const Action& action) {
  struct Name {
    std::string operator()(const Crossed& a) const {
      std::string text(1, a.crossing.direction == Direction::up ? '+' : '-');
      return text.append(to_string(a.crossing.threshold));
    }
    std::string operator()(const HintPressure& a) const {
      return std::string("hint ").append(std::to_string(a.level));
    }
    std::string operator()(const EndIdleWorkers& a) const { return a.at_once ? "end idle now" : "end idle"; }
    std::string operator()(const SuspendTask& a) const { return "suspend " + a.task_id; }
    std::string operator()(const PreemptTask& a) const { return "preempt " + a.task_id; }
    std::string operator()(const KillTask& a) const { return "kill " + a.task_id; }
    std::string operator()(const Foreseen&) const { return "foreseen"; }
    std::string operator()(const RoomAgain&) const { return "room again"; }
  };
  return std::visit(Name{}, action);
}

constexpr Bytes budget = mebibytes(1000);

// Readings in MiB of a budget of 1000, at times from the start. To come `margin` below the preempt threshold
// (850) memory has to fall to 830, for the kill threshold (950) to 930.
struct Scene {
  Governor governor{Thresholds{}};
  std::vector<Candidate> running;
  Bytes idle{};
  Bytes ending{};
  bool starving = false;

  std::vector<Action> actions(int mib, Duration at) {
    return governor.decide({mebibytes(mib), budget, running, idle, ending, starving}, start + at);
  }
  // Only what takes memory back, joined by commas.
  std::string chosen(int mib, Duration at) {
    std::string text;
    for (const Action& action : actions(mib, at)) {
      if (std::holds_alternative<Crossed>(action) || std::holds_alternative<HintPressure>(action)) continue;
      text += (text.empty() ? "" : ", ") + text_of(action);
    }
    return text;
  }
  Candidate& task(const std::string& id) { return *std::ranges::find(running, id, &Candidate::task_id); }
  void preempt(const std::string& id, Duration back_by) { task(id).back_by = start + back_by; }
  void kill(const std::string& id, Duration back_by) {
    preempt(id, back_by);
    task(id).dying = true;
  }
  void gone(const std::string& id) {
    std::erase_if(running, [&](const Candidate& c) { return c.task_id == id; });
  }
};

Candidate candidate(std::string id, Priority priority, std::int64_t mib, bool preemptable = true) {
  return {
      .task_id = std::move(id), .priority = priority, .preemptable = preemptable, .memory = mebibytes(mib)};
}

TEST_CASE("crossings are told in both directions, hints only upwards") {
  Scene scene;
  std::vector<std::string> seen;
  for (const int mib : {699, 700, 960, 961, 851, 850, 600}) {
    std::string line;
    for (const Action& action : scene.actions(mib, 0s)) line += text_of(action) + "; ";
    seen.push_back(line);
  }
  CHECK(seen == std::vector<std::string>{"", "+skip_heartbeats; hint 1; ",
                                         "+preempt; hint 2; +reject; hint 3; +kill; hint 4; ", "", "",
                                         "-kill; ", "-reject; -preempt; -skip_heartbeats; "});
}

TEST_CASE("figures of the reading go with every action") {
  Scene scene{.running = {candidate("a", Priority::normal, 100)}};
  const auto actions = scene.actions(860, 0s);
  REQUIRE(actions.size() == 5);
  CHECK(std::get<Crossed>(actions[0]).crossing.ratio == 0.86);
  CHECK(std::get<HintPressure>(actions[1]).ratio == 0.86);
  CHECK(std::get<PreemptTask>(actions[4]).ratio == 0.86);
  CHECK(std::get<KillTask>(scene.actions(955, 10ms).back()).ratio == 0.955);
}

TEST_CASE("what is chosen at each threshold") {
  const struct {
    int mib;
    std::string chosen;
    bool skips;
    bool refuses;
  } table[] = {
      {0, "", false, false},           {699, "", false, false},         {700, "", true, false},
      {701, "", true, false},          {849, "", true, false},          {850, "preempt a", true, false},
      {851, "preempt a", true, false}, {899, "preempt a", true, false}, {900, "preempt a", true, true},
      {901, "preempt a", true, true},  {949, "preempt a", true, true},  {950, "kill a", true, true},
      {951, "kill a", true, true},     {5000, "kill a", true, true},
  };
  for (const auto& row : table) {
    CAPTURE(row.mib);
    Scene scene{.running = {candidate("a", Priority::normal, 200)}};
    CHECK(scene.chosen(row.mib, 0s) == row.chosen);
    CHECK(scene.governor.skips_heartbeats() == row.skips);
    CHECK(scene.governor.refuses_work() == row.refuses);
    CHECK(scene.governor.pressure().ratio() == row.mib / 1000.0);
  }
}

TEST_CASE("refusing and skipping end only below the hysteresis") {
  Scene scene;
  scene.actions(900, 0s);
  scene.actions(801, 1s);
  CHECK(scene.governor.refuses_work());
  scene.actions(800, 2s);
  CHECK_FALSE(scene.governor.refuses_work());
  CHECK(scene.governor.skips_heartbeats());
  scene.actions(601, 3s);
  CHECK(scene.governor.skips_heartbeats());
  scene.actions(600, 4s);
  CHECK_FALSE(scene.governor.skips_heartbeats());
}

TEST_CASE("without a candidate nothing is chosen") {
  Scene scene;
  CHECK(scene.chosen(960, 0s).empty());
  scene.running = {candidate("fixed", Priority::low, 10, false)};
  CHECK(scene.chosen(860, 1s).empty());
  CHECK(scene.chosen(960, 2s) == "kill fixed");
}

TEST_CASE("as many as the deficit and the margin need are chosen at once, and no more") {
  const std::vector<Candidate> running = {
      candidate("normal", Priority::normal, 400), candidate("big", Priority::low, 60),
      candidate("middle", Priority::low, 30), candidate("beat", Priority::heartbeat, 21)};
  const struct {
    int mib;
    std::string chosen;
  } table[] = {
      {850, "preempt beat"},
      {851, "preempt beat"},
      {852, "preempt beat, preempt big"},
      {911, "preempt beat, preempt big"},
      {912, "preempt beat, preempt big, preempt middle"},
      {941, "preempt beat, preempt big, preempt middle"},
      {942, "preempt beat, preempt big, preempt middle, preempt normal"},
      {950, "kill beat"},
      {952, "kill beat, kill big"},
      {1010, "kill beat, kill big"},
      {1012, "kill beat, kill big, kill middle"},
      {1100, "kill beat, kill big, kill middle, kill normal"},
      {9000, "kill beat, kill big, kill middle, kill normal"},
  };
  for (const auto& row : table) {
    CAPTURE(row.mib);
    Scene scene{.running = running};
    CHECK(scene.chosen(row.mib, 0s) == row.chosen);
  }
}

TEST_CASE("a deficit is what is above the line, less what is on its way back") {
  const Candidate staying = candidate("staying", Priority::low, 1);
  Candidate preempted = candidate("preempted", Priority::low, 10);
  preempted.back_by = start + 5s;
  Candidate dying = candidate("dying", Priority::low, 100);
  dying.back_by = start + 2s;
  dying.dying = true;
  const std::vector<Candidate> running = {staying, preempted, dying};
  Situation situation{.used = mebibytes(900), .budget = budget, .running = running, .idle = {}, .ending = {}};
  const struct {
    bool kill;
    Duration at;
    std::int64_t mib;
  } table[] = {
      {false, 0s, 400 - 110},    {false, 1990ms, 400 - 110}, {false, 2s, 400 - 10},
      {false, 4990ms, 400 - 10}, {false, 5s, 400},           {false, 60s, 400},
      {true, 0s, 400 - 100},     {true, 1990ms, 400 - 100},  {true, 2s, 400},
  };
  for (const auto& row : table) {
    CAPTURE(row.kill);
    CAPTURE(row.at.count());
    CHECK(deficit(situation, 0.5, row.kill, start + row.at) == mebibytes(row.mib));
  }
  situation.idle = mebibytes(40);
  situation.ending = mebibytes(7);
  CHECK(deficit(situation, 0.5, false, start) == mebibytes(400 - 110 - 47));
  CHECK_MESSAGE(deficit(situation, 1.0, false, start) == mebibytes(-100 - 110 - 47),
                "room is a negative one");
}

TEST_CASE("nobody further is chosen while what leaves covers the deficit") {
  Scene scene{.running = {candidate("a", Priority::low, 50), candidate("b", Priority::low, 40)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.preempt("a", 5s);
  for (const Duration at : {10ms, 100ms, 1000ms, 4990ms}) CHECK(scene.chosen(860, at).empty());
  CHECK(scene.chosen(880, 4995ms).empty());
  CHECK_MESSAGE(scene.chosen(881, 4999ms) == "preempt b", "it has grown beyond what leaves");
}

TEST_CASE("once the memory should have been back, others are chosen, and never the same again") {
  Scene scene{.running = {candidate("a", Priority::low, 50), candidate("b", Priority::low, 40)}};
  scene.preempt("a", 5s);
  CHECK(scene.chosen(860, 4999ms).empty());
  CHECK(scene.chosen(860, 5s) == "preempt b");
  scene.preempt("b", 10s);
  CHECK(scene.chosen(860, 5010ms).empty());
  CHECK_MESSAGE(scene.chosen(860, 60s).empty(), "nobody is left to preempt");

  Scene late{.running = {candidate("a", Priority::low, 50), candidate("b", Priority::low, 40)}};
  CHECK(late.chosen(960, 0s) == "kill a");
  late.kill("a", 2s);
  for (const Duration at : {10ms, 1000ms, 1990ms}) CHECK(late.chosen(960, at).empty());
  CHECK(late.chosen(960, 2s) == "kill b");
  late.kill("b", 4s);
  CHECK(late.chosen(960, 2010ms).empty());
  CHECK(late.chosen(960, 60s).empty());
}

TEST_CASE("the same reading gives the same choice until somebody acts on it") {
  Scene scene{.running = {candidate("a", Priority::low, 50)}};
  for (const Duration at : {0ms, 10ms, 20ms, 1000ms}) CHECK(scene.chosen(860, at) == "preempt a");
  for (const Duration at : {1010ms, 1020ms}) CHECK(scene.chosen(960, at) == "kill a");
}

TEST_CASE("as soon as the first is gone, the next choice waits for nothing") {
  Scene scene{.running = {candidate("a", Priority::low, 50), candidate("b", Priority::low, 40)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.gone("a");
  CHECK(scene.chosen(850, 10ms) == "preempt b");
  CHECK(scene.chosen(970, 20ms) == "kill b");
}

TEST_CASE("between the threshold and its hysteresis line nothing further is chosen") {
  Scene scene{.running = {candidate("a", Priority::low, 10), candidate("b", Priority::low, 9)}};
  scene.actions(860, 0s);
  scene.gone("a");
  for (const int mib : {849, 800, 751}) CHECK(scene.chosen(mib, 10s).empty());
  CHECK(scene.governor.pressure().is_over(Threshold::preempt));
  CHECK(scene.chosen(850, 20s) == "preempt b");
}

TEST_CASE("a task that somebody else ends counts for a preemption too") {
  Scene scene{.running = {candidate("cancelled", Priority::high, 40), candidate("b", Priority::low, 9)}};
  scene.preempt("cancelled", 5s);
  CHECK(scene.chosen(860, 10ms).empty());
  scene.gone("cancelled");
  CHECK(scene.chosen(860, 20ms) == "preempt b");
}

TEST_CASE("a preemption counts for nothing above the kill threshold, and that task may be killed") {
  Scene scene{.running = {candidate("a", Priority::low, 50), candidate("b", Priority::normal, 90)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.preempt("a", 5s);
  CHECK(scene.chosen(870, 10ms).empty());
  CHECK(scene.chosen(950, 20ms) == "kill a");
  scene.kill("a", 2s);
  CHECK(scene.chosen(970, 30ms).empty());
  CHECK(scene.chosen(981, 40ms) == "kill b");
}

TEST_CASE("what is dying counts for a preemption as well") {
  Scene scene{.running = {candidate("a", Priority::low, 50), candidate("b", Priority::low, 40)}};
  scene.kill("a", 2s);
  CHECK(scene.chosen(880, 10ms).empty());
  CHECK(scene.chosen(881, 20ms) == "preempt b");
}

TEST_CASE("whoever can be suspended is, others are preempted in the same order, and both may be killed") {
  Scene scene;
  scene.running = {candidate("a", Priority::low, 100, false), candidate("b", Priority::low, 90),
                   candidate("c", Priority::normal, 100)};
  scene.task("a").suspendable = true;
  scene.task("c").suspendable = true;
  CHECK(scene.chosen(860, 0s) == "suspend a");
  CHECK(scene.chosen(931, 1s) == "suspend a, preempt b");
  CHECK(scene.chosen(949, 2s) == "suspend a, preempt b");
  CHECK(scene.chosen(960, 3s) == "kill a");
}

TEST_CASE("a kill takes what may not be preempted") {
  Scene scene{
      .running = {candidate("a", Priority::normal, 30), candidate("fixed", Priority::low, 25, false)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.preempt("a", 5s);
  CHECK(scene.chosen(952, 10ms) == "kill fixed");
  CHECK(scene.chosen(960, 10ms) == "kill fixed, kill a");
}

TEST_CASE("a lone task is preempted and killed like any other") {
  Scene scene{.running = {candidate("only", Priority::critical, 50)}};
  CHECK(scene.chosen(860, 0s) == "preempt only");
  scene.preempt("only", 5s);
  CHECK(scene.chosen(960, 1s) == "kill only");
}

TEST_CASE("protected tasks are never chosen, whatever the pressure") {
  Scene scene{.running = {candidate("a", Priority::heartbeat, 500), candidate("b", Priority::high, 30)}};
  scene.task("a").is_protected = true;
  CHECK(scene.chosen(860, 0s) == "preempt b");
  CHECK(scene.chosen(2000, 10ms) == "kill b");
  scene.starving = true;
  CHECK(scene.chosen(500, 20ms) == "kill b");
  scene.gone("b");
  for (const int mib : {500, 860, 960, 5000}) CHECK(scene.chosen(mib, 1s).empty());
}

TEST_CASE("idle workers end first, and no task is touched when they cover the deficit") {
  Scene scene{.running = {candidate("a", Priority::low, 50)}, .idle = mebibytes(30)};
  CHECK(scene.chosen(849, 0s).empty());
  CHECK(scene.chosen(850, 0s) == "end idle");
  CHECK(scene.chosen(860, 10ms) == "end idle");
  CHECK(scene.chosen(861, 20ms) == "end idle, preempt a");
  CHECK(scene.chosen(950, 30ms) == "end idle now");
  CHECK(scene.chosen(959, 30ms) == "end idle now");
  CHECK(scene.chosen(961, 40ms) == "end idle now, kill a");
}

TEST_CASE("what was told to end counts until it is gone or overdue") {
  Scene scene{.running = {candidate("a", Priority::low, 50)}, .ending = mebibytes(30)};
  CHECK(scene.chosen(860, 0s).empty());
  CHECK(scene.chosen(959, 10ms).empty());
  CHECK(scene.chosen(861, 20ms) == "preempt a");
  CHECK(scene.chosen(961, 30ms) == "kill a");
  scene.ending = {};
  CHECK(scene.chosen(860, 1s) == "preempt a");
}

TEST_CASE("idle, ending and leaving memory count together") {
  Scene scene{.running = {candidate("a", Priority::low, 20), candidate("b", Priority::low, 10)},
              .idle = mebibytes(20),
              .ending = mebibytes(20)};
  scene.preempt("a", 5s);
  CHECK(scene.chosen(890, 10ms) == "end idle");
  CHECK(scene.chosen(891, 20ms) == "end idle, preempt b");
}

TEST_CASE("a worker that starves at its edge is a reason to kill below the kill threshold") {
  Scene scene{.running = {candidate("a", Priority::low, 20), candidate("b", Priority::normal, 400)}};
  scene.starving = true;
  for (const int mib : {100, 840, 860, 949}) {
    CAPTURE(mib);
    CHECK_MESSAGE(scene.chosen(mib, 0s) == "kill a", "the margin is enough to give");
  }
  CHECK(scene.chosen(951, 10ms) == "kill a, kill b");
  scene.kill("a", 2s);
  for (const Duration at : {20ms, 1000ms, 1990ms}) CHECK(scene.chosen(840, at).empty());
  CHECK(scene.chosen(840, 2s) == "kill b");
  scene.starving = false;
  CHECK(scene.chosen(840, 2010ms).empty());
}

TEST_CASE("a starving worker is given what idle workers hold before any task suffers") {
  Scene scene{.running = {candidate("a", Priority::low, 50)}, .idle = mebibytes(20)};
  scene.starving = true;
  CHECK(scene.chosen(840, 0s) == "end idle now");
  scene.idle = mebibytes(19);
  CHECK(scene.chosen(840, 10ms) == "end idle now, kill a");
  scene.idle = {};
  scene.ending = mebibytes(20);
  CHECK(scene.chosen(840, 20ms).empty());
}

TEST_CASE("a preempted task does not count for a starving worker, and may be killed for it") {
  Scene scene{.running = {candidate("a", Priority::low, 50)}};
  scene.preempt("a", 5s);
  scene.starving = true;
  CHECK(scene.chosen(840, 10ms) == "kill a");
}

TEST_CASE("a budget of nothing is full as soon as anything is used") {
  Governor governor{Thresholds{}};
  const std::vector<Candidate> running = {candidate("a", Priority::low, 10)};
  const auto decide = [&](Bytes used, Bytes all) {
    return governor.decide({.used = used, .budget = all, .running = running, .idle = {}, .ending = {}},
                           start);
  };
  CHECK(decide({0}, {0}).empty());
  const auto actions = decide({1}, {0});
  REQUIRE_FALSE(actions.empty());
  CHECK(std::get<KillTask>(actions.back()).ratio == 1.0);
  CHECK(decide({-1}, {0}).size() == 4);
  CHECK(std::get<KillTask>(decide({1}, Bytes{} - gibibytes(1)).back()).ratio == 1.0);
}

TEST_CASE("a reading from nothing to far above the budget kills at once") {
  Scene scene{.running = {candidate("a", Priority::low, 10)}};
  CHECK(scene.chosen(10, 0s).empty());
  CHECK(scene.chosen(40'000, 10ms) == "kill a");
  CHECK(scene.chosen(0, 20ms).empty());
  CHECK(scene.governor.pressure().level() == 0);
}

TEST_CASE("thresholds that are no numbers never choose anybody, and ratios always are numbers") {
  Scene scene{.running = {candidate("a", Priority::low, 10)}};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  scene.governor.configure({.ratio = {nan, nan, nan, nan}, .hysteresis = nan});
  for (const int mib : {-1, 0, 900, 5000}) {
    CHECK(scene.chosen(mib, 0s).empty());
    CHECK_FALSE(std::isnan(scene.governor.pressure().ratio()));
  }
}

TEST_CASE("a clock that goes back does no more than to wait for those who leave") {
  Scene scene{.running = {candidate("a", Priority::low, 50), candidate("b", Priority::low, 40)}};
  CHECK(scene.chosen(860, 30min) == "preempt a");
  scene.preempt("a", 30min + 5s);
  CHECK(scene.chosen(860, 10s).empty());
  CHECK(scene.chosen(960, 10s) == "kill a");
  CHECK(scene.chosen(881, -10s) == "preempt b");
}

TEST_CASE(
    "readings that jump up and down choose nobody a second time, and nobody in the place of one who leaves") {
  Scene scene{.running = {candidate("low", Priority::low, 300), candidate("high", Priority::high, 600)}};
  CHECK(scene.chosen(990, 0s) == "kill low");
  scene.kill("low", 2s);
  for (const int mib : {0, 990, 100, 1000, 0, 960, 990}) CHECK(scene.chosen(mib, 1s) == "");
  CHECK(scene.chosen(-500, 1s) == "");
  CHECK(scene.chosen(990, 3s) == "kill high");
}

TEST_CASE("above lines that were lowered just now nobody is killed, and who can give way is asked to") {
  Scene scene{.running = {candidate("low", Priority::low, 300), candidate("firm", Priority::low, 300, false),
                          candidate("high", Priority::high, 300)}};
  const auto decided = [&](bool lowered, bool starving) {
    std::string text;
    for (const Action& action :
         scene.governor.decide({mebibytes(1100), budget, scene.running, {}, {}, starving, lowered}, start)) {
      if (victim_of(action) != nullptr) text += text_of(action) + " ";
    }
    return text;
  };
  for (const bool starving : {false, true}) {
    CHECK(decided(true, starving) == "preempt low ");
    CHECK(decided(false, starving) == "kill low ");
  }
}

TEST_CASE("who may start under which pressure") {
  const struct {
    int mib;
    bool anything_running;
    std::string allowed;  // c h n l b, in order of priority
  } table[] = {
      {0, true, "chnlb"},   {699, true, "chnlb"}, {700, true, "chnl"},
      {849, true, "chnl"},  {849, false, "chnl"}, {850, true, "c"},
      {850, false, "chnl"}, {960, true, "c"},     {960, false, "chnl"},
  };
  constexpr std::string_view letters = "chnlb";
  for (const auto& row : table) {
    CAPTURE(row.mib);
    CAPTURE(row.anything_running);
    Scene scene;
    scene.actions(row.mib, 0s);
    std::string allowed;
    for (std::size_t i = 0; i < priority_count; ++i) {
      if (scene.governor.allows_start(all_priorities[i], row.anything_running)) allowed += letters[i];
    }
    CHECK(allowed == row.allowed);
  }
}

TEST_CASE("a preempted task does not start again before the hysteresis line") {
  Scene scene;
  scene.actions(850, 0s);
  scene.actions(751, 1s);
  CHECK_FALSE(scene.governor.allows_start(Priority::normal, true));
  scene.actions(750, 2s);
  CHECK(scene.governor.allows_start(Priority::normal, true));
}

TEST_CASE("new settings take effect with the next reading") {
  Scene scene{.running = {candidate("a", Priority::low, 30), candidate("b", Priority::low, 20)}};
  CHECK(scene.chosen(510, 0s).empty());
  scene.governor.configure({.ratio = {0.4, 0.5, 0.6, 0.99}, .hysteresis = 0.05});
  CHECK(scene.chosen(510, 10ms) == "preempt a");
  CHECK(scene.chosen(511, 20ms) == "preempt a, preempt b");
  CHECK(scene.chosen(989, 30ms) == "preempt a, preempt b");
  CHECK(scene.chosen(990, 40ms) == "kill a");
}

// What holds for every decision, whatever came before it.
void check_choice(const Scene& scene, int mib, TimePoint now, const std::vector<Action>& actions) {
  const bool kill = mib >= 950 || scene.starving;
  std::vector<std::string> ids;
  bool ends_idle = false;
  for (const Action& action : actions) {
    if (const auto* end = std::get_if<EndIdleWorkers>(&action)) {
      CHECK((ids.empty() && !ends_idle && end->at_once == kill && scene.idle > Bytes{}));
      ends_idle = true;
    } else if (const auto* preempt = std::get_if<PreemptTask>(&action)) {
      CHECK((!kill && mib >= 850));
      ids.push_back(preempt->task_id);
    } else if (const auto* killed = std::get_if<KillTask>(&action)) {
      CHECK(kill);
      ids.push_back(killed->task_id);
    }
  }
  const auto is_chosen = [&](const Candidate& task) {
    return std::ranges::find(ids, task.task_id) != ids.end();
  };
  Bytes left = deficit({mebibytes(mib), budget, scene.running, scene.idle, scene.ending, scene.starving},
                       (kill ? 0.95 : 0.85) - Governor::margin, kill, now);
  Bytes least = gibibytes(100);
  Priority most_important = Priority::heartbeat;
  for (const Candidate& task : scene.running) {
    if (!is_chosen(task)) continue;
    CHECK_FALSE((task.is_protected || task.dying));
    if (!kill) CHECK((task.preemptable && !task.back_by));
    left -= task.memory;
    most_important = std::min(most_important, task.priority);
  }
  for (const Candidate& task : scene.running) {
    if (is_chosen(task) && task.priority == most_important) least = std::min(least, task.memory);
    const bool able = !task.is_protected && !task.dying && (kill || (task.preemptable && !task.back_by));
    if (!able || is_chosen(task) || task.memory == Bytes{} || !(kill || mib >= 850)) continue;
    CHECK_MESSAGE(left <= Bytes{}, "nobody is spared while something is missing");
    if (!ids.empty()) CHECK(task.priority <= most_important);
  }
  // Each of them was needed when it was chosen: without the last one something would be missing.
  if (ids.empty()) return;
  const auto last = std::ranges::find(scene.running, ids.back(), &Candidate::task_id);
  CHECK(left + last->memory > Bytes{});
}

TEST_CASE("whatever the readings, those chosen are the right ones, enough and no more") {
  std::mt19937 random(20260301);
  const auto below = [&random](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Scene scene;
  int next_id = 0;
  int chosen = 0;
  Duration now = 0s;
  for (int round = 0; round < 20'000; ++round) {
    CAPTURE(round);
    now += Duration(below(300) - (below(50) == 0 ? 5000 : 0));
    if (scene.running.size() < 12 && below(2) == 0) {
      scene.running.push_back(candidate(std::to_string(next_id++), all_priorities[random() % priority_count],
                                        below(100), below(4) != 0));
      scene.running.back().is_protected = below(8) == 0;
    }
    for (Candidate& task : scene.running) task.work_lost = below(1000);
    if (!scene.running.empty() && below(4) == 0)
      scene.running.erase(scene.running.begin() + below(static_cast<int>(scene.running.size())));
    scene.idle = mebibytes(below(5) == 0 ? below(60) : 0);
    scene.ending = mebibytes(below(5) == 0 ? below(60) : 0);
    scene.starving = below(10) == 0;
    const int mib = below(1100);
    const std::vector<Action> actions = scene.actions(mib, now);
    check_choice(scene, mib, start + now, actions);
    for (const Action& action : actions) {
      if (const auto* preempt = std::get_if<PreemptTask>(&action)) {
        scene.preempt(preempt->task_id, now + Duration(below(2000)));
        ++chosen;
      } else if (const auto* kill = std::get_if<KillTask>(&action)) {
        scene.kill(kill->task_id, now + Duration(below(500)));
        ++chosen;
      }
    }
  }
  CHECK(chosen > 1000);
}

}  // namespace
}  // namespace kurultai::governor_test
