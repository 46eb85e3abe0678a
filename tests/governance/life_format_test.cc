// What LifeWriter writes, LifeParser reads.
#include <doctest/doctest.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "governance/life_parser.h"
#include "governance/life_writer.h"

namespace kurultai::life_format_test {
namespace {

using namespace std::chrono_literals;

const TimePoint began{5h};

LifeHeader header() {
  LifeHeader header{"2026-03-01T12:00:00.000Z", "cgroup1", gibibytes(8), {}};
  header.rules.budget = mebibytes(100);
  header.rules.agents["hog"] = {false, true, true};
  return header;
}

std::string header_line() {
  std::string text;
  LifeWriter(began).write(text, header());
  return text.substr(0, text.size() - 1);
}

/// The lines of a text, each with its end.
std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = text.find('\n', from);
    lines.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return lines;
}

LifeParser ready_parser() {
  LifeParser parser;
  REQUIRE(parser.parse(header_line()));
  return parser;
}

/// The last record of what `text` holds behind a header.
template <typename Record>
Record only(LifeParser& parser, const std::string& text) {
  static std::deque<std::string> kept;  // what is read points into it
  std::optional<LifeRecord> last;
  for (const std::string& line : lines_of(text)) {
    auto record = parser.parse(kept.emplace_back(line));
    REQUIRE_MESSAGE(record, record.error().message);
    last = *std::move(record);
  }
  REQUIRE(last);
  REQUIRE(std::holds_alternative<Record>(*last));
  return std::get<Record>(*std::move(last));
}

template <typename Record>
std::string written(const Record& record) {
  std::string text;
  LifeWriter(began).write(text, record);
  return text;
}

std::string wrong(const std::string& line, const std::string& before = "") {
  LifeParser parser = ready_parser();
  for (const std::string& each : lines_of(before)) REQUIRE(parser.parse(each));
  const auto record = parser.parse(line);
  REQUIRE_FALSE(record);
  return record.error().message;
}

TEST_CASE("the header carries the rules") {
  LifeParser parser;
  const auto record = parser.parse(header_line());
  REQUIRE_MESSAGE(record, record.error().message);
  const auto& read = std::get<LifeHeader>(*record);
  CHECK(read.started_at == "2026-03-01T12:00:00.000Z");
  CHECK(read.guarantee == "cgroup1");
  CHECK(read.machine == gibibytes(8));
  CHECK(read.rules.budget == mebibytes(100));
  CHECK(read.rules.thresholds.ratio == Thresholds{}.ratio);
  CHECK(read.rules.queue.per_level == QueueLimits{}.per_level);
  REQUIRE(read.rules.agents.contains("hog"));
  CHECK(read.rules.agents.at("hog").is_protected);
  CHECK_FALSE(read.rules.agents.at("hog").preemptable);
}

TEST_CASE("a reading comes back with all that the governor saw and decided, to the last digit") {
  std::vector<Candidate> tasks(2);
  tasks[0] = {.task_id = "a1",
              .priority = Priority::low,
              .outgrown = true,
              .memory = {123456789},
              .work_lost = 0.1 + 0.2};
  tasks[1] = {.task_id = "b2",
              .priority = Priority::critical,
              .preemptable = false,
              .suspendable = true,
              .is_protected = true,
              .memory = {0},
              .work_lost = 1e-9,
              .back_by = began - 1ns,
              .dying = true};
  tasks[0].growth = {mebibytes(3), 1700ms};
  tasks[0].most = mebibytes(9);
  tasks[0].grace = 5s;
  tasks[0].may_leave_early = true;
  const std::vector<RunningSeen> running = {{&tasks[0], "hog"}, {&tasks[1], "calm"}};
  const std::vector<Action> actions = {Crossed{{Threshold::kill, Direction::up, 0.97}},
                                       HintPressure{4, 0.97},
                                       Crossed{{Threshold::preempt, Direction::down, 0.97}},
                                       EndIdleWorkers{true},
                                       SuspendTask{"b2", 0.97},
                                       PreemptTask{"a1", 0.97},
                                       KillTask{"b2", 0.97},
                                       Foreseen{},
                                       RoomAgain{}};
  ReadingSeen seen{began + 1234567890123ns, mebibytes(97), mebibytes(10), {7}, {8}};
  seen.starving = seen.put_off = true;
  seen.time_to_act = 1234ms;
  seen.running = running;
  seen.actions = actions;
  LifeParser parser = ready_parser();
  const auto read = only<ReadingSeen>(parser, written(seen));
  CHECK(read.at == TimePoint{1234567890123ns});
  CHECK(read.used == seen.used);
  CHECK(read.supervisor == seen.supervisor);
  CHECK(read.idle == Bytes{7});
  CHECK(read.ending == Bytes{8});
  CHECK(read.starving);
  CHECK_FALSE(read.lowered);
  CHECK(read.put_off);
  REQUIRE(read.running.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    const Candidate& task = *read.running[i].task;
    CHECK(task.task_id == tasks[i].task_id);
    CHECK(task.priority == tasks[i].priority);
    CHECK(task.preemptable == tasks[i].preemptable);
    CHECK(task.suspendable == tasks[i].suspendable);
    CHECK(task.is_protected == tasks[i].is_protected);
    CHECK(task.outgrown == tasks[i].outgrown);
    CHECK(task.dying == tasks[i].dying);
    CHECK(task.memory == tasks[i].memory);
    CHECK(task.work_lost == tasks[i].work_lost);
    CHECK(task.growth.per_second == tasks[i].growth.per_second);
    CHECK(task.growth.lasted == tasks[i].growth.lasted);
    CHECK(task.most == tasks[i].most);
    CHECK(task.grace == tasks[i].grace);
    CHECK(task.may_leave_early == tasks[i].may_leave_early);
    CHECK(read.running[i].agent == running[i].agent);
  }
  CHECK(read.running[1].task->back_by == TimePoint{-1ns});
  CHECK(read.time_to_act == 1234ms);
  REQUIRE(read.actions.size() == 8);  // hints follow from crossings
  CHECK(std::get<Crossed>(read.actions[0]).crossing.threshold == Threshold::kill);
  CHECK(std::get<Crossed>(read.actions[0]).crossing.ratio == doctest::Approx(0.97));
  CHECK(std::get<Crossed>(read.actions[1]).crossing.direction == Direction::down);
  CHECK(std::get<EndIdleWorkers>(read.actions[2]).at_once);
  CHECK(std::get<SuspendTask>(read.actions[3]).task_id == "b2");
  CHECK(std::get<PreemptTask>(read.actions[4]).task_id == "a1");
  CHECK(std::get<KillTask>(read.actions[5]).task_id == "b2");
  CHECK(std::holds_alternative<Foreseen>(read.actions[6]));
  CHECK(std::holds_alternative<RoomAgain>(read.actions[7]));
}

TEST_CASE("all other records come back") {
  LifeParser parser = ready_parser();
  const auto submitted =
      only<SubmittedSeen>(parser, written(SubmittedSeen{began, "a", "hog", Priority::low, false, 3}));
  CHECK(submitted.task_id == "a");
  CHECK(submitted.agent == "hog");
  CHECK(submitted.evicted == 3);
  CHECK(only<SubmittedSeen>(parser, written(SubmittedSeen{began, "a", "hog", Priority::low, true})).is_known);
  const auto refused =
      only<RefusedSeen>(parser, written(RefusedSeen{began, "no name\n", Priority::high, "queue_full"}));
  CHECK(refused.agent == "?");
  CHECK(refused.code == "queue_full");
  const auto begun =
      only<BegunSeen>(parser, written(BegunSeen{began, "a", Priority::high, mebibytes(3), true}));
  CHECK(begun.committed == mebibytes(3));
  CHECK(begun.alone);
  CHECK(only<ReturnedSeen>(parser, written(ReturnedSeen{began, "a", "hog", Priority::low, "preempt"})).why ==
        "preempt");
  CHECK(only<EndedSeen>(parser, written(EndedSeen{began, "a", "failed"})).state == "failed");
  CHECK(only<SkippedSeen>(parser, written(SkippedSeen{began, "a"})).task_id == "a");
  CHECK(only<DroppedSeen>(parser, written(DroppedSeen{began, 17})).count == 17);
  CHECK(only<ClosedSeen>(parser, written(ClosedSeen{began + 1s, "limit"})).why == "limit");
  RulesSeen rules{began + 1s, header().rules};
  rules.rules.governs = false;
  CHECK_FALSE(only<RulesSeen>(parser, written(rules)).rules.governs);
  RoomSeen room{began + 2s, {}};
  room.receipt.id = "g1";
  room.receipt.room = RoomAsked{.task_id = "b",
                                .footprint = mebibytes(5),
                                .line = mebibytes(6),
                                .elsewhere = {},
                                .workers = {},
                                .end_workers = {}};
  room.receipt.running.push_back({.task_id = "a", .memory = mebibytes(4)});
  room.receipt.chosen = {"a"};
  const auto read = only<RoomSeen>(parser, written(room));
  CHECK(read.receipt.chosen == std::vector<std::string>{"a"});
  CHECK(read.receipt.room->footprint == mebibytes(5));
}

TEST_CASE("a running task is described once, when something about it changes, and after a loss") {
  LifeWriter writer(began);
  Candidate task{.task_id = "a1", .memory = mebibytes(1)};
  const std::vector<RunningSeen> running = {{&task, "hog"}};
  ReadingSeen reading{began, mebibytes(1), {}, {}, {}};
  const auto lines = [&] {
    std::string text;
    writer.write(text, reading);
    return lines_of(text).size();
  };
  reading.running = running;
  CHECK(lines() == 2);
  task.memory = mebibytes(2);
  CHECK(lines() == 1);
  task.outgrown = true;
  CHECK(lines() == 2);
  CHECK(lines() == 1);
  writer.forget_tasks();
  CHECK(lines() == 2);
}

TEST_CASE("numbers are used again, so the reader keeps no more tasks than run at a time") {
  LifeWriter writer(began);
  std::string text;
  for (int i = 0; i < 1000; ++i) {
    const Candidate task{.task_id = "task" + std::to_string(i), .memory = mebibytes(1)};
    const std::vector<RunningSeen> running = {{&task, "hog"}};
    ReadingSeen reading{began, mebibytes(1), {}, {}, {}};
    reading.running = running;
    writer.write(text, reading);
  }
  // One that has gone holds its number until the reading that lacks it is written.
  CHECK(text.find("t 1 task999 ") != std::string::npos);
  CHECK(text.find("t 2 ") == std::string::npos);
}

TEST_CASE("more tasks than a recording has are left out") {
  std::vector<Candidate> tasks(most_life_tasks + 1);
  std::vector<RunningSeen> running;
  running.reserve(tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    tasks[i].task_id = std::to_string(i);
    running.push_back({&tasks[i], "hog"});
  }
  ReadingSeen reading{began, mebibytes(1), {}, {}, {}};
  reading.running = running;
  LifeParser parser = ready_parser();
  CHECK(only<ReadingSeen>(parser, written(reading)).running.size() == most_life_tasks);
  CHECK(wrong("t 10000 a hog low - - 0 0") == "more tasks at a time than a recording has");
}

TEST_CASE("what is no recording") {
  const auto refused = [](const std::string& line) {
    LifeParser parser;
    const auto record = parser.parse(line);
    REQUIRE_FALSE(record);
    return record.error().message;
  };
  CHECK(refused("seconds,bytes") == "no recording of kurultaid --record");
  CHECK(refused("") == "no recording of kurultaid --record");
  CHECK(refused("{}") == "no recording of kurultaid --record");
  CHECK(refused("r 1 2 3 4 5 -") == "no recording of kurultaid --record");
  CHECK(refused(R"({"kurultaiLife":2})") == "a recording of version 2; this program reads version 1");
  CHECK(refused(R"({"kurultaiLife":"x"})") == "a recording of version \"x\"; this program reads version 1");
  CHECK(refused(R"({"kurultaiLife":1})").starts_with("rules: "));
  std::string no_budget = header_line();
  no_budget.replace(no_budget.find("104857600"), 9, "0");
  CHECK(refused(no_budget) == "rules: 'budgetBytes' is no budget");
  std::string endless = header_line();
  endless.replace(endless.find("104857600"), 9, "1e300");
  CHECK(refused(endless) == "rules: 1e+300 is no whole number, or too large");
}

TEST_CASE("what is wrong with a line is named") {
  CHECK(wrong("") == "'' is no record");
  CHECK(wrong("x 1") == "'x 1' is no record");
  CHECK(wrong("r") == "'r' is no record");
  CHECK(wrong("r nan 2 3 4 5 -") == "'nan' is no time");
  CHECK(wrong("r -1 2 3 4 5 -") == "'-1' is no time");
  CHECK(wrong("r 99999999999999999999 2 3 4 5 -") == "'99999999999999999999' is no time");
  CHECK(wrong("r 1 inf 3 4 5 -") == "'inf' is no size");
  CHECK(wrong("r 1 1e9 3 4 5 -") == "'1e9' is no size");
  CHECK(wrong("r 1 2 3 4") == "its size is missing");
  CHECK(wrong("r 1 2 3 4 5") == "its set of flags is missing");
  CHECK(wrong("r 1 2 3 4 5 y") == "'y' is no set of flags");
  CHECK(wrong("r 1 2 3 4 5 - 0:1:1").find("'0:1:1' is no task of this reading") == 0);
  CHECK(wrong("r 1 2 3 4 5 - 0:1:nan", "t 0 a hog low - - 0 0\n").starts_with("'0:1:nan' is no task"));
  for (const char* growth : {"0:1:0:5", "0:1:0:-1:5", "0:1:0:5:-1", "0:1:0:5:x", "0:1:0:5:999999999999999"})
    CHECK(
        wrong("r 1 2 3 4 5 - " + std::string(growth), "t 0 a hog low - - 0 0\n").ends_with("became of one"));
  CHECK(wrong("r 1 2 3 4 5 - @-1", "").starts_with("'@-1' is no task"));
  CHECK(wrong("t 0 a hog low - - 0 999999999999999", "") == "'999999999999999' is no grace");
  CHECK(wrong("r 1 2 3 4 5 - !k1", "t 0 a hog low - - 0 0\n").starts_with("'!k1' is no task"));
  CHECK(wrong("r 1 2 3 4 5 - !u4").starts_with("'!u4' is no task"));
  CHECK(wrong("r 1 2 3 4 5 -", "r 2 2 3 4 5 -\n") == "its time is before that of an earlier line");
  CHECK(wrong("s 1 a hog urgent 0") == "'urgent' is no priority");
  CHECK(wrong("s 1 a hog low 0 more") == "'more' is more than it should hold");
  CHECK(wrong("e 1 " + std::string(65, 'a') + " failed").ends_with("…' is no task"));
  CHECK(wrong("q 1 {}").starts_with("receipt: "));
  CHECK_FALSE(wrong("c 1 {").empty());
  CHECK(wrong(header_line()).ends_with(" is no record"));
}

}  // namespace
}  // namespace kurultai::life_format_test
