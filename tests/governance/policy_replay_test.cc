#include "governance/policy_replay.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "governance/admission.h"
#include "governance/life_parser.h"
#include "governance/life_writer.h"

namespace kurultai::policy_replay_test {
namespace {

using namespace std::chrono_literals;

const TimePoint began{7h};

PolicyRules usual_rules() {
  PolicyRules rules;
  rules.budget = mebibytes(1000);
  rules.agents["hog"] = {};
  rules.agents["guarded"] = {.is_protected = true};
  return rules;
}

/// A life as a supervisor would have it and record it: readings in MiB, the governor's decisions carried out
/// in that a victim is on its way out.
struct Life {
  explicit Life(PolicyRules its_rules = usual_rules()) : rules(std::move(its_rules)) {
    writer.write(text, LifeHeader{"2026-03-01T12:00:00.000Z", "cgroup1", gibibytes(8), rules});
  }

  Candidate& begin(const std::string& id, Priority priority, int mib) {
    writer.write(text, SubmittedSeen{now, id, "hog", priority});
    writer.write(text, BegunSeen{now, id, priority, mebibytes(mib)});
    tasks.push_back({.task_id = id, .priority = priority, .memory = mebibytes(mib)});
    return tasks.back();
  }
  Candidate& task(const std::string& id) { return *std::ranges::find(tasks, id, &Candidate::task_id); }

  void end(std::string_view its_id) {
    const std::string id(its_id);
    writer.write(text, EndedSeen{now, id, "completed"});
    std::erase_if(tasks, [&](const Candidate& one) { return one.task_id == id; });
  }

  std::vector<Action> read() {
    now += 100ms;
    Bytes used = supervisor + idle;
    std::vector<RunningSeen> running;
    for (Candidate& one : tasks) {
      used += one.memory;
      one.work_lost += 0.1;
    }
    running.reserve(tasks.size());
    for (const Candidate& one : tasks) running.push_back({&one, one.is_protected ? "guarded" : "hog"});
    Situation situation{used, rules.budget, tasks, rules.governs ? idle : Bytes{}, {}, starving};
    if (rules.predicts) situation.time_to_act = 500ms;
    const auto actions = governor.decide(situation, now);
    ReadingSeen seen{now, used, supervisor, idle, {}};
    seen.time_to_act = situation.time_to_act;
    seen.starving = starving;
    seen.put_off = put_off;
    seen.running = running;
    seen.actions = actions;
    writer.write(text, seen);
    if (rules.governs && !put_off) carry_out(actions);
    return actions;
  }

  void carry_out(const std::vector<Action>& actions) {
    for (const Action& action : actions) {
      if (const std::string* victim = victim_of(action)) {
        task(*victim).back_by = now + 1s;
        task(*victim).dying = std::holds_alternative<KillTask>(action);
      }
      if (std::holds_alternative<EndIdleWorkers>(action)) idle = {};
    }
  }

  PolicyRules rules;
  LifeWriter writer{began};
  Governor governor{rules.thresholds};
  std::string text;
  TimePoint now = began;
  std::vector<Candidate> tasks;
  Bytes supervisor = mebibytes(10), idle{};
  bool starving = false, put_off = false;
};

struct Replayed {
  LifeTally life;
  PolicyReplay policy{{}};
};

Replayed replay(const std::string& text, std::optional<PolicyRules> rules = {}) {
  Replayed out;
  out.policy = PolicyReplay(std::move(rules));
  LifeParser parser;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = text.find('\n', from);
    const auto record = parser.parse(std::string_view(text).substr(from, end - from));
    REQUIRE_MESSAGE(record, record.error().message);
    out.life.take(*record);
    out.policy.take(*record);
    from = end + 1;
  }
  return out;
}

std::string deeds_of(const PolicyTally& tally) {
  std::string text;
  for (const Deed& deed : tally.first_deeds)
    text.append(text.empty() ? "" : ", ").append(to_string(deed.kind)).append(" ").append(deed.task_id);
  return text;
}

/// Two tasks of which the low one has to go when the other grows to 700 MiB.
Life with_a_preemption() {
  Life life;
  life.begin("high", Priority::high, 400);
  life.begin("low", Priority::low, 200);
  life.read();
  life.task("high").memory = mebibytes(700);
  life.read();
  life.read();
  life.writer.write(life.text, ReturnedSeen{life.now, "low", "hog", Priority::low, "preempt"});
  std::erase_if(life.tasks, [](const Candidate& one) { return one.task_id == "low"; });
  life.read();
  return life;
}

TEST_CASE("the rules of life decide as life did: the same victims in the same order, at the same readings") {
  for (unsigned seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&random](int limit) {
      return static_cast<int>(random() % static_cast<unsigned>(limit));
    };
    PolicyRules rules = usual_rules();
    rules.governs = seed % 7 != 0;
    rules.predicts = seed % 2 != 0;
    Life life(rules);
    for (int step = 0; step < 300; ++step) {
      if (below(10) == 0 && !(rules.governs && life.governor.refuses_work())) {
        Candidate& fresh =
            life.begin("t" + std::to_string(step), static_cast<Priority>(below(5)), below(200));
        fresh.preemptable = below(4) != 0;
        fresh.suspendable = below(4) == 0;
        fresh.is_protected = below(10) == 0;
        fresh.outgrown = below(5) == 0;
        if (below(3) == 0) fresh.growth = {mebibytes(below(60)), Duration(below(9000))};
        fresh.most = mebibytes(2000);
        fresh.grace = Duration(below(5000));
        fresh.may_leave_early = below(3) != 0;
      }
      if (!life.tasks.empty() && below(15) == 0)
        life.end(life.tasks[static_cast<std::size_t>(below(static_cast<int>(life.tasks.size())))].task_id);
      for (Candidate& one : life.tasks) one.memory += mebibytes(below(30) - 10);
      for (Candidate& one : life.tasks) one.memory = std::max(one.memory, Bytes{});
      life.idle = mebibytes(below(20) == 0 ? 50 : 0);
      life.starving = below(30) == 0;
      life.put_off = rules.governs && below(5) == 0;
      life.read();
    }
    const auto [recorded, policy] = replay(life.text);
    CAPTURE(seed);
    CHECK_FALSE(policy.first_difference());
    CHECK(policy.tally().first_deeds == recorded.tally().first_deeds);
    CHECK(policy.tally().deeds == recorded.tally().deeds);
    CHECK(policy.tally().crossed_up == recorded.tally().crossed_up);
    CHECK(policy.tally().over == recorded.tally().over);
    CHECK(policy.tally().peak_used == recorded.tally().peak_used);
    CHECK(recorded.readings() == 300);
    // As a configuration of its own it is judged by what it says of agents; it says the same.
    CHECK(replay(life.text, rules).policy.tally().crossed_up == recorded.tally().crossed_up);
  }
}

TEST_CASE(
    "a preemption that was recorded is found again, and is none under a larger budget or higher lines") {
  const Life life = with_a_preemption();
  const auto same = replay(life.text);
  CHECK(deeds_of(same.life.tally()) == "preempt low");
  CHECK(deeds_of(same.policy.tally()) == "preempt low");
  CHECK(same.policy.tally().first_deeds.front().memory == mebibytes(200));
  CHECK(same.policy.tally().first_deeds.front().agent == "hog");
  CHECK(same.life.tally().count(DeedKind::preempt) == 1);

  PolicyRules rules = usual_rules();
  rules.budget = mebibytes(2000);
  auto larger = replay(life.text, rules);
  CHECK(deeds_of(larger.policy.tally()).empty());
  CHECK(larger.policy.tally().peak_ratio == doctest::Approx(0.455));
  CHECK(larger.policy.tally().crossed_up == std::array<std::uint64_t, threshold_count>{});
  CHECK(larger.policy.first_difference() == TimePoint{200ms});

  rules = usual_rules();
  rules.thresholds.ratio = {0.93, 0.94, 0.95, 0.96};
  CHECK(deeds_of(replay(life.text, rules).policy.tally()).empty());
}

TEST_CASE("what was foreseen is foreseen again, and not by rules that do not predict") {
  PolicyRules rules = usual_rules();
  rules.predicts = true;
  Life life(rules);
  life.begin("grower", Priority::high, 300);
  life.task("grower").growth = {mebibytes(90), 20s};
  life.task("grower").most = mebibytes(2000);
  life.begin("low", Priority::low, 200);
  life.task("low").grace = 5s;
  life.task("low").may_leave_early = true;
  life.read();
  life.read();
  const auto same = replay(life.text);
  CHECK(deeds_of(same.life.tally()) == "preempt low");
  CHECK(same.life.tally().first_deeds.front().ratio == doctest::Approx(0.51));
  CHECK(deeds_of(same.policy.tally()) == "preempt low");
  CHECK_FALSE(same.policy.first_difference());
  rules.predicts = false;
  const auto blind = replay(life.text, rules);
  CHECK(deeds_of(blind.policy.tally()).empty());
  CHECK(blind.policy.first_difference() == TimePoint{100ms});
}

TEST_CASE("a task that only the rules end is not counted from then on, until its end in life") {
  Life life;
  life.begin("high", Priority::high, 400);
  life.begin("low", Priority::low, 200);
  life.read();
  life.read();
  life.end("low");
  life.begin("low", Priority::low, 200);  // a new run: it is life's again
  life.read();
  PolicyRules rules = usual_rules();
  rules.thresholds.ratio = {0.3, 0.5, 0.98, 0.99};
  const auto [recorded, policy] = replay(life.text, rules);
  CHECK(deeds_of(policy.tally()) == "preempt low, preempt low");
  CHECK(policy.tally().peak_used == mebibytes(610));
  const auto columns = policy.tally().profile.columns(300);
  CHECK(columns.at(110) == mebibytes(610));
  CHECK(columns.at(210) == mebibytes(410));
  CHECK(columns.back() == mebibytes(610));
  CHECK(deeds_of(recorded.tally()).empty());
}

TEST_CASE("what an agent may suffer is asked of the configuration, why else it could not be taken of life") {
  PolicyRules stern = usual_rules();
  stern.agents["hog"].preemptable = false;
  Life life(stern);
  life.begin("low", Priority::low, 500).preemptable = false;
  life.begin("other", Priority::low, 400).preemptable = false;
  life.read();
  CHECK(deeds_of(replay(life.text).policy.tally()).empty());
  CHECK(deeds_of(replay(life.text, usual_rules()).policy.tally()) == "preempt low");

  Life unwilling;  // its agent would allow it: it was let in knowingly, or has declined
  unwilling.begin("low", Priority::low, 900).preemptable = false;
  unwilling.read();
  PolicyRules other = usual_rules();
  other.thresholds.hysteresis = 0.2;
  CHECK(deeds_of(replay(unwilling.text, other).policy.tally()).empty());

  PolicyRules guarded = usual_rules();
  guarded.agents["hog"].is_protected = true;
  CHECK(deeds_of(replay(with_a_preemption().text, guarded).policy.tally()).empty());
  PolicyRules no_rung = usual_rules();
  no_rung.preempts = false;
  CHECK(deeds_of(replay(with_a_preemption().text, no_rung).policy.tally()).empty());
}

TEST_CASE("who waited for memory in life would have got it from a larger budget") {
  Life life;
  life.begin("low", Priority::low, 500);
  life.starving = true;
  life.read();
  CHECK(deeds_of(replay(life.text).policy.tally()) == "kill low");
  PolicyRules rules = usual_rules();
  rules.budget = mebibytes(1001);
  CHECK(deeds_of(replay(life.text, rules).policy.tally()).empty());
  rules.budget = mebibytes(999);
  CHECK(deeds_of(replay(life.text, rules).policy.tally()) == "kill low");
}

TEST_CASE("a kill that was put off is none; one that only the rules want is not put off") {
  Life life;
  life.begin("low", Priority::low, 950);
  life.put_off = true;
  life.read();
  const auto same = replay(life.text);
  CHECK(deeds_of(same.life.tally()).empty());
  CHECK(deeds_of(same.policy.tally()).empty());
  CHECK_FALSE(same.policy.first_difference());

  Life below;
  below.begin("low", Priority::low, 900);
  below.put_off = true;
  below.read();
  PolicyRules rules = usual_rules();
  rules.thresholds.ratio = {0.3, 0.4, 0.5, 0.6};
  CHECK(deeds_of(replay(below.text, rules).policy.tally()) == "kill low");
}

TEST_CASE("without governance decisions are tallied and change nothing") {
  PolicyRules rules = usual_rules();
  rules.governs = false;
  const auto tried = replay(with_a_preemption().text, rules);
  CHECK(deeds_of(tried.policy.tally()) == "preempt low");
  CHECK(tried.policy.tally().peak_used == mebibytes(910));

  Life life(rules);
  life.begin("low", Priority::low, 900);
  life.read();
  life.read();
  CHECK(deeds_of(replay(life.text).life.tally()) == "preempt low, preempt low");
  CHECK(deeds_of(replay(life.text, usual_rules()).policy.tally()) == "preempt low");
}

TEST_CASE("idle workers that the rules end are gone for as long as life has so much idle") {
  Life life;
  life.begin("task", Priority::high, 400);
  life.idle = mebibytes(100);
  life.read();
  life.read();
  life.idle = mebibytes(30);
  life.read();
  PolicyRules rules = usual_rules();
  rules.thresholds.ratio = {0.3, 0.51, 0.98, 0.99};
  auto tried = replay(life.text, rules);
  CHECK(deeds_of(tried.policy.tally()) == "end_idle ");
  CHECK(tried.policy.tally().profile.columns(300).back() == mebibytes(410));
  rules.ends_idle = false;
  CHECK(deeds_of(replay(life.text, rules).policy.tally()).starts_with("preempt task"));
}

TEST_CASE("submissions are refused above the reject line, and beyond the queue's limits") {
  Life life;
  life.begin("task", Priority::high, 700);
  life.read();
  for (const char* id : {"a", "b", "c"}) life.writer.write(life.text, SubmittedSeen{life.now, id, "hog"});
  life.writer.write(life.text, RefusedSeen{life.now, "hog", Priority::normal, "queue_full"});
  life.writer.write(life.text, RefusedSeen{life.now, "hog", Priority::normal, "unknown_agent"});
  life.read();

  PolicyRules rules = usual_rules();
  rules.queue.max_depth = 2;
  auto tried = replay(life.text, rules);
  CHECK(tried.life.tally().accepted == 4);
  CHECK(tried.life.tally().refused_for_queue == 1);
  CHECK(tried.life.refused_otherwise() == 1);
  CHECK(tried.policy.tally().accepted == 3);
  CHECK(tried.policy.tally().refused_for_queue == 2);
  CHECK(tried.policy.tally().refused_for_memory == 0);

  rules = usual_rules();
  rules.thresholds.ratio = {0.3, 0.4, 0.5, 0.99};
  rules.preempts = false;
  tried = replay(life.text, rules);
  CHECK(tried.policy.tally().accepted == 1);
  CHECK(tried.policy.tally().refused_for_memory == 4);
  rules.governs = false;
  CHECK(replay(life.text, rules).policy.tally().refused_for_memory == 0);
}

TEST_CASE("a task that the rules would have refused is nowhere in their memory") {
  Life life;
  life.begin("task", Priority::high, 600);
  life.read();
  life.begin("late", Priority::high, 300);
  life.read();
  PolicyRules rules = usual_rules();
  rules.thresholds.ratio = {0.3, 0.58, 0.6, 0.99};
  rules.preempts = false;
  auto tried = replay(life.text, rules);
  CHECK(tried.policy.tally().refused_for_memory == 1);
  CHECK(tried.policy.tally().peak_used == mebibytes(610));
  CHECK(tried.policy.tally().starts == 1);
}

TEST_CASE("starts are asked of the thresholds and of the room") {
  Life life;
  life.begin("first", Priority::high, 600);
  life.read();
  life.begin("critical", Priority::critical, 100);
  life.writer.write(life.text, SubmittedSeen{life.now, "normal", "hog"});
  life.writer.write(life.text, BegunSeen{life.now, "normal", Priority::normal, mebibytes(800)});
  PolicyRules rules = usual_rules();
  rules.thresholds.ratio = {0.3, 0.59, 0.98, 0.99};
  rules.preempts = false;
  auto tried = replay(life.text, rules);
  CHECK(tried.policy.tally().starts == 3);
  CHECK(tried.policy.tally().starts_held_by_pressure == 1);
  rules = usual_rules();
  rules.budget = mebibytes(900);  // 765 MiB below its line
  tried = replay(life.text, rules);
  CHECK(tried.policy.tally().starts_held_by_pressure == 0);
  CHECK(tried.policy.tally().starts_without_room == 1);
  rules.admits = false;
  CHECK(replay(life.text, rules).policy.tally().starts_without_room == 0);
}

TEST_CASE("heartbeats are held back while the lowest threshold is over, each once") {
  Life life;
  life.begin("task", Priority::high, 600);
  life.writer.write(life.text, SubmittedSeen{life.now, "waits", "beat", Priority::heartbeat});
  life.read();
  life.writer.write(life.text, SubmittedSeen{life.now, "comes", "other", Priority::heartbeat});
  life.writer.write(life.text, SubmittedSeen{life.now, "newer", "other", Priority::heartbeat});
  life.writer.write(life.text, SkippedSeen{life.now, "comes"});
  PolicyRules rules = usual_rules();
  rules.thresholds.ratio = {0.5, 0.9, 0.98, 0.99};
  const auto tried = replay(life.text, rules);
  CHECK(tried.life.tally().heartbeats_held == 1);
  CHECK(tried.policy.tally().heartbeats_held == 3);
  CHECK(tried.policy.tally().evicted == 1);  // the newer one takes the place of its source's older one
}

RoomSeen room_for(const std::string& task, Bytes footprint, const Life& life) {
  RoomSeen room{life.now, {}};
  Receipt& receipt = room.receipt;
  receipt.id = "g9";
  receipt.now = life.now;
  receipt.budget = life.rules.budget;
  receipt.running = life.tasks;
  receipt.room = RoomAsked{.task_id = task,
                           .priority = Priority::critical,
                           .footprint = footprint,
                           .line = share_of(life.rules.budget, 0.85),
                           .elsewhere = life.supervisor,
                           .workers = {},
                           .end_workers = {}};
  for (const Candidate& one : life.tasks)
    receipt.room->workers.push_back({"w" + one.task_id, one.memory, {}, WorkerLoad::Standing::busy});
  receipt.chosen = decide_again(receipt).chosen;
  return room;
}

TEST_CASE("room that was made for a task is made again, and not where there is enough") {
  Life life;
  life.begin("high", Priority::high, 300);
  life.begin("low", Priority::low, 300);
  life.read();
  const RoomSeen room = room_for("big", mebibytes(400), life);
  REQUIRE(room.receipt.chosen == std::vector<std::string>{"low"});
  life.writer.write(life.text, room);
  const auto same = replay(life.text);
  CHECK(deeds_of(same.life.tally()) == "room low");
  CHECK(deeds_of(same.policy.tally()) == "room low");
  CHECK(same.policy.tally().first_deeds.front().memory == mebibytes(300));
  CHECK_FALSE(same.policy.first_difference());
  PolicyRules rules = usual_rules();
  rules.budget = mebibytes(1200);
  const auto larger = replay(life.text, rules);
  CHECK(deeds_of(larger.policy.tally()).empty());
  CHECK(larger.policy.first_difference());
}

TEST_CASE("a reload changes the rules of life, and none that were named") {
  Life life;
  life.begin("low", Priority::low, 500);
  life.read();
  life.rules.budget = mebibytes(580);
  life.writer.write(life.text, RulesSeen{life.now, life.rules});
  life.read();
  const auto same = replay(life.text);
  CHECK(deeds_of(same.policy.tally()) == "preempt low");
  CHECK_FALSE(same.policy.first_difference());
  CHECK(deeds_of(replay(life.text, usual_rules()).policy.tally()).empty());
}

TEST_CASE("where records are missing, what waited and ran is forgotten") {
  Life life;
  for (const char* id : {"a", "b", "c"}) life.writer.write(life.text, SubmittedSeen{life.now, id, "hog"});
  life.writer.write(life.text, DroppedSeen{life.now, 12});
  for (const char* id : {"d", "e", "f"}) life.writer.write(life.text, SubmittedSeen{life.now, id, "hog"});
  PolicyRules rules = usual_rules();
  rules.queue.max_depth = 3;
  const auto tried = replay(life.text, rules);
  CHECK(tried.life.dropped() == 12);
  CHECK(tried.policy.tally().accepted == 6);
}

TEST_CASE("deeds beyond those that are listed are counted") {
  PolicyTally tally;
  for (std::size_t i = 0; i <= PolicyTally::most_listed; ++i) {
    tally.note({.at = {}, .kind = DeedKind::kill, .memory = {}});
    tally.note_crossing({Threshold::kill, Direction::up, 1});
  }
  CHECK(tally.first_deeds.size() == PolicyTally::most_listed);
  CHECK(tally.first_crossings.size() == PolicyTally::most_listed);
  CHECK(tally.count(DeedKind::kill) == PolicyTally::most_listed + 1);
  CHECK(tally.crossed_up.back() == PolicyTally::most_listed + 1);
}

}  // namespace
}  // namespace kurultai::policy_replay_test
