#include "governance/governor.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace kurultai {
namespace {

using namespace std::chrono_literals;

constexpr Duration settle = 2s;
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
    std::string operator()(const EndIdleWorkers&) const { return "end idle"; }
    std::string operator()(const PreemptTask& a) const { return "preempt " + a.task_id; }
    std::string operator()(const KillTask& a) const { return "kill " + a.task_id; }
  };
  return std::visit(Name{}, action);
}

// Readings in per mille of the budget, at milliseconds from the start.
struct Scene {
  Governor governor{Thresholds{}, settle};
  std::vector<Candidate> running;
  int idle_workers = 0;
  int ending_workers = 0;

  std::vector<Action> actions(int permille, Duration at) {
    return governor.decide({{permille}, {1000}, running, idle_workers, ending_workers}, start + at);
  }
  // Only what takes memory back, joined by commas.
  std::string chosen(int permille, Duration at) {
    std::string text;
    for (const Action& action : actions(permille, at)) {
      if (std::holds_alternative<Crossed>(action) || std::holds_alternative<HintPressure>(action)) continue;
      text += (text.empty() ? "" : ", ") + text_of(action);
    }
    return text;
  }
  Candidate& task(const std::string& id) { return *std::ranges::find(running, id, &Candidate::task_id); }
  void gone(const std::string& id) {
    std::erase_if(running, [&](const Candidate& c) { return c.task_id == id; });
  }
};

Candidate candidate(std::string id, Priority priority, std::int64_t mib, bool preemptable = true) {
  return {std::move(id), priority, preemptable, false, mebibytes(mib), start};
}

TEST_CASE("crossings are told in both directions, hints only upwards") {
  Scene scene;
  std::vector<std::string> seen;
  for (const int permille : {699, 700, 960, 961, 851, 850, 600}) {
    std::string line;
    for (const Action& action : scene.actions(permille, 0s)) line += text_of(action) + "; ";
    seen.push_back(line);
  }
  CHECK(seen == std::vector<std::string>{"", "+skip_heartbeats; hint 1; ",
                                         "+preempt; hint 2; +reject; hint 3; +kill; hint 4; ", "", "",
                                         "-kill; ", "-reject; -preempt; -skip_heartbeats; "});
}

TEST_CASE("figures of the reading go with every action") {
  Scene scene{.running = {candidate("a", Priority::normal, 10)}};
  const auto actions = scene.actions(860, 0s);
  REQUIRE(actions.size() == 5);
  CHECK(std::get<Crossed>(actions[0]).crossing.ratio == 0.86);
  CHECK(std::get<HintPressure>(actions[1]).ratio == 0.86);
  CHECK(std::get<PreemptTask>(actions[4]).ratio == 0.86);
  scene.running = {candidate("b", Priority::normal, 10)};
  CHECK(std::get<KillTask>(scene.actions(955, 1ms).back()).ratio == 0.955);
}

TEST_CASE("what is chosen at each threshold") {
  const struct {
    int permille;
    const char* chosen;
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
    CAPTURE(row.permille);
    Scene scene{.running = {candidate("a", Priority::normal, 10)}};
    CHECK(scene.chosen(row.permille, 0s) == row.chosen);
    CHECK(scene.governor.skips_heartbeats() == row.skips);
    CHECK(scene.governor.refuses_work() == row.refuses);
    CHECK(scene.governor.pressure().ratio() == row.permille / 1000.0);
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

TEST_CASE("the victim is of the lowest priority, frees most memory, and was started last") {
  const auto started = [](Candidate task, Duration at) { return task.started = start + at, task; };
  const auto leaving = [](Candidate task) { return task.leaving = true, task; };
  const Candidate critical = candidate("critical", Priority::critical, 900);
  const Candidate high = candidate("high", Priority::high, 400);
  const Candidate low = candidate("low", Priority::low, 10);
  const Candidate low_big = candidate("low_big", Priority::low, 11);
  const Candidate fixed = candidate("fixed", Priority::heartbeat, 50, false);
  const struct {
    std::vector<Candidate> running;
    const char* preempted;
    const char* killed;
  } table[] = {
      {{}, "", ""},
      {{critical}, "critical", "critical"},
      {{critical, high}, "high", "high"},
      {{critical, low, high}, "low", "low"},
      {{low, low_big, high}, "low_big", "low_big"},
      {{low_big, low, high}, "low_big", "low_big"},
      {{low_big, fixed}, "low_big", "fixed"},
      {{fixed}, "", "fixed"},
      {{started(low, 1s), started(candidate("later", Priority::low, 10), 2s)}, "later", "later"},
      {{started(candidate("later", Priority::low, 10), 2s), started(low, 1s)}, "later", "later"},
      {{started(low, 9s), started(low_big, 1s)}, "low_big", "low_big"},
      {{leaving(low), high}, "high", "low"},
      {{leaving(low)}, "", "low"},
  };
  const auto id_of = [](const Candidate* task) { return task == nullptr ? std::string() : task->task_id; };
  for (const auto& row : table) {
    CHECK(id_of(choose_victim(row.running, true)) == row.preempted);
    CHECK(id_of(choose_victim(row.running, false)) == row.killed);
  }
}

TEST_CASE("without a candidate nothing is chosen") {
  Scene scene;
  CHECK(scene.chosen(960, 0s).empty());
  scene.running = {candidate("fixed", Priority::low, 10, false)};
  CHECK(scene.chosen(860, 1s).empty());
  CHECK_MESSAGE(scene.chosen(960, 2s) == "kill fixed", "nothing chosen before means nothing to wait for");
}

TEST_CASE("no second choice while the first leaves, however long it takes") {
  Scene scene{.running = {candidate("a", Priority::low, 10), candidate("b", Priority::low, 9)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.task("a").leaving = true;
  for (const Duration at : {1ms, 1999ms, 2000ms, 2001ms, 60000ms}) CHECK(scene.chosen(930, at).empty());
  scene.gone("a");
  CHECK(scene.chosen(930, 61s) == "preempt b");
}

TEST_CASE("no second choice within settle, although the first is gone") {
  Scene scene{.running = {candidate("a", Priority::low, 10), candidate("b", Priority::low, 9)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.gone("a");
  CHECK(scene.chosen(860, 1999ms).empty());
  CHECK(scene.chosen(860, 2000ms) == "preempt b");
}

TEST_CASE("a crossing that stays for longer than settle with nobody leaving is acted on again") {
  Scene scene{.running = {candidate("a", Priority::low, 10)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  CHECK(scene.chosen(860, 1s).empty());
  CHECK(scene.chosen(860, 2s) == "preempt a");
  CHECK(scene.chosen(850, 4s) == "preempt a");
}

TEST_CASE("between the threshold and its hysteresis line nothing further is chosen") {
  Scene scene{.running = {candidate("a", Priority::low, 10), candidate("b", Priority::low, 9)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.gone("a");
  for (const int permille : {849, 800, 751}) CHECK(scene.chosen(permille, 10s).empty());
  CHECK(scene.governor.pressure().is_over(Threshold::preempt));
  CHECK(scene.chosen(850, 20s) == "preempt b");
  scene.gone("b");
  scene.running = {candidate("c", Priority::low, 10)};
  CHECK_MESSAGE(scene.chosen(949, 22s) == "preempt c", "the kill line was not reached");
}

TEST_CASE("a task that somebody else ends holds up a preemption too") {
  Scene scene{.running = {candidate("cancelled", Priority::high, 10), candidate("b", Priority::low, 9)}};
  scene.task("cancelled").leaving = true;
  CHECK(scene.chosen(860, 0s).empty());
  CHECK(scene.chosen(860, 10s).empty());
  scene.gone("cancelled");
  CHECK(scene.chosen(860, 11s) == "preempt b");
}

TEST_CASE("a kill does not wait for a preemption and may take that same task") {
  Scene scene{.running = {candidate("a", Priority::low, 10), candidate("b", Priority::normal, 90)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.task("a").leaving = true;
  CHECK(scene.chosen(949, 10ms).empty());
  CHECK(scene.chosen(950, 20ms) == "kill a");
  CHECK(scene.chosen(990, 30ms).empty());
  CHECK_MESSAGE(scene.chosen(990, 10s).empty(), "it is still dying");
  scene.gone("a");
  CHECK(scene.chosen(990, 11s) == "kill b");
}

TEST_CASE("a kill takes what may not be preempted, also while a preempted one is leaving") {
  Scene scene{.running = {candidate("a", Priority::normal, 10), candidate("fixed", Priority::low, 1, false)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.task("a").leaving = true;
  CHECK(scene.chosen(960, 10ms) == "kill fixed");
  scene.gone("fixed");
  CHECK(scene.chosen(960, 1000ms).empty());
  CHECK_MESSAGE(scene.chosen(960, 2010ms) == "kill a", "the kill is settled, and a is only being preempted");
}

TEST_CASE("after a kill the next one waits for settle, and a preemption too") {
  Scene scene{.running = {candidate("a", Priority::low, 10), candidate("b", Priority::low, 9)}};
  CHECK(scene.chosen(960, 0s) == "kill a");
  scene.gone("a");
  CHECK(scene.chosen(960, 1999ms).empty());
  CHECK(scene.chosen(860, 1999ms).empty());
  CHECK(scene.chosen(960, 2000ms) == "kill b");
}

TEST_CASE("once the memory has come back, the next choice waits for nothing") {
  Scene scene{.running = {candidate("a", Priority::low, 10), candidate("b", Priority::low, 9)}};
  CHECK(scene.chosen(960, 0s) == "kill a");
  CHECK(scene.chosen(600, 10ms).empty());
  CHECK_MESSAGE(scene.chosen(960, 20ms) == "kill a", "it runs again, and is at it again");
  scene.gone("a");
  CHECK(scene.chosen(600, 30ms).empty());
  CHECK(scene.chosen(860, 40ms) == "preempt b");
  CHECK(scene.chosen(740, 50ms).empty());
  CHECK(scene.chosen(860, 60ms) == "preempt b");
}

TEST_CASE("a killed task that runs again under the same id does not hold up the next kill") {
  Scene scene{.running = {candidate("a", Priority::low, 10)}};
  CHECK(scene.chosen(960, 0s) == "kill a");
  scene.task("a").leaving = true;
  CHECK(scene.chosen(960, 5s).empty());
  scene.task("a").leaving = false;
  CHECK(scene.chosen(960, 6s) == "kill a");
}

TEST_CASE("a lone task is preempted and killed like any other") {
  Scene scene{.running = {candidate("only", Priority::critical, 10)}};
  CHECK(scene.chosen(860, 0s) == "preempt only");
  scene.task("only").leaving = true;
  CHECK(scene.chosen(960, 1s) == "kill only");
}

TEST_CASE("idle workers end before anyone is preempted, and together with a kill") {
  Scene scene{.running = {candidate("a", Priority::low, 10)}, .idle_workers = 2};
  CHECK(scene.chosen(849, 0s).empty());
  CHECK(scene.chosen(850, 0s) == "end idle");
  scene.idle_workers = 1;
  CHECK_MESSAGE(scene.chosen(949, 1ms) == "end idle", "a worker that became idle meanwhile ends too");
  CHECK(scene.chosen(950, 2ms) == "end idle, kill a");

  Scene later{.running = {candidate("a", Priority::low, 10)}, .idle_workers = 1};
  CHECK(later.chosen(860, 0s) == "end idle");
  later.idle_workers = 0;
  later.ending_workers = 1;
  CHECK_MESSAGE(later.chosen(860, 10ms).empty(), "their memory is on its way back");
  later.ending_workers = 0;
  CHECK(later.chosen(860, 20ms) == "preempt a");

  Scene urgent{.running = {candidate("a", Priority::low, 10)}, .ending_workers = 1};
  CHECK(urgent.chosen(950, 0s) == "kill a");
}

TEST_CASE("idle workers end although a task is leaving") {
  Scene scene{.running = {candidate("a", Priority::low, 10)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.task("a").leaving = true;
  scene.idle_workers = 1;
  CHECK(scene.chosen(860, 1ms) == "end idle");
}

TEST_CASE("a budget of nothing is full as soon as anything is used") {
  Governor governor(Thresholds{}, settle);
  const std::vector<Candidate> running = {candidate("a", Priority::low, 10)};
  CHECK(governor.decide({{0}, {0}, running}, start).empty());
  const auto actions = governor.decide({{1}, {0}, running}, start);
  REQUIRE_FALSE(actions.empty());
  CHECK(std::get<KillTask>(actions.back()).ratio == 1.0);
  CHECK(governor.decide({{-1}, {0}, running}, start).size() == 4);
}

TEST_CASE("a reading from nothing to far above the budget kills at once") {
  Scene scene{.running = {candidate("a", Priority::low, 10)}};
  CHECK(scene.chosen(10, 0s).empty());
  CHECK(scene.chosen(40000, 1ms) == "kill a");
  CHECK(scene.chosen(0, 2ms).empty());
  CHECK(scene.governor.pressure().level() == 0);
}

TEST_CASE("a clock that goes back holds up a choice for settle at the most") {
  Scene scene{.running = {candidate("a", Priority::low, 10)}};
  CHECK(scene.chosen(860, 30min) == "preempt a");
  CHECK(scene.chosen(860, 10s).empty());
  CHECK(scene.chosen(860, 11999ms).empty());
  CHECK(scene.chosen(860, 12s) == "preempt a");
  CHECK(scene.chosen(960, 0s) == "kill a");
  CHECK(scene.chosen(960, -10s).empty());
  CHECK(scene.chosen(960, -8s) == "kill a");
}

TEST_CASE("who may start under which pressure") {
  const struct {
    int permille;
    bool anything_running;
    const char* allowed;  // c h n l b, in order of priority
  } table[] = {
      {0, true, "chnlb"},   {699, true, "chnlb"}, {700, true, "chnl"},
      {849, true, "chnl"},  {849, false, "chnl"}, {850, true, "c"},
      {850, false, "chnl"}, {960, true, "c"},     {960, false, "chnl"},
  };
  constexpr std::string_view letters = "chnlb";
  for (const auto& row : table) {
    CAPTURE(row.permille);
    CAPTURE(row.anything_running);
    Scene scene;
    scene.actions(row.permille, 0s);
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
  Scene scene{.running = {candidate("a", Priority::low, 10)}};
  CHECK(scene.chosen(860, 0s) == "preempt a");
  scene.governor.configure({.ratio = {0.4, 0.5, 0.6, 0.99}, .hysteresis = 0.05}, 500ms);
  CHECK(scene.chosen(510, 499ms).empty());
  CHECK(scene.chosen(510, 500ms) == "preempt a");
}

TEST_CASE("whatever the readings, at most one task is chosen at a time and only for a reason") {
  std::mt19937 random(20260301);
  const auto below = [&random](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Scene scene;
  int next_id = 0;
  Duration now = 0s;
  for (int round = 0; round < 20'000; ++round) {
    now += Duration(below(300) - (below(50) == 0 ? 5000 : 0));
    if (scene.running.size() < 5 && below(2) == 0) {
      scene.running.push_back(candidate(std::to_string(next_id++), all_priorities[random() % priority_count],
                                        below(100), below(4) != 0));
    }
    if (!scene.running.empty() && below(4) == 0) scene.running.erase(scene.running.begin());
    scene.idle_workers = below(5) == 0 ? 1 : 0;
    const int permille = below(1100);
    const bool leaving = std::ranges::any_of(scene.running, &Candidate::leaving);
    int choices = 0;
    for (const Action& action : scene.actions(permille, now)) {
      if (const auto* preempt = std::get_if<PreemptTask>(&action)) {
        ++choices;
        CHECK((permille >= 850 && permille < 950 && !leaving && scene.idle_workers == 0));
        CHECK(scene.task(preempt->task_id).preemptable);
        scene.task(preempt->task_id).leaving = true;
      } else if (const auto* kill = std::get_if<KillTask>(&action)) {
        ++choices;
        CHECK(permille >= 950);
        const Priority priority = scene.task(kill->task_id).priority;
        for (const Candidate& other : scene.running) CHECK(other.priority <= priority);
        scene.task(kill->task_id).leaving = true;
      }
    }
    CHECK(choices <= 1);
  }
}

TEST_CASE("a choice that was withdrawn holds up no other") {
  Governor governor(Thresholds{}, 2s);
  const std::vector<Candidate> running = {{"t", Priority::low, true, false, mebibytes(100), TimePoint{}}};
  const Situation full{mebibytes(96), mebibytes(100), running, 0, 0};
  const TimePoint now{1h};
  const auto kills = [](const std::vector<Action>& actions) {
    return std::ranges::count_if(
        actions, [](const Action& action) { return std::holds_alternative<KillTask>(action); });
  };
  CHECK(kills(governor.decide(full, now)) == 1);
  CHECK(kills(governor.decide(full, now + 10ms)) == 0);
  governor.withdraw();
  CHECK(kills(governor.decide(full, now + 20ms)) == 1);
}

}  // namespace
}  // namespace kurultai
