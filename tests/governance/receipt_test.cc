#include "governance/receipt.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

namespace kurultai::receipt_test {
namespace {

using namespace std::chrono_literals;

const TimePoint now{10h};

Candidate candidate(std::string id, Priority priority, Bytes memory, double work_lost) {
  Candidate task;
  task.task_id = std::move(id);
  task.priority = priority;
  task.memory = memory;
  task.work_lost = work_lost;
  return task;
}

/// Filled in as the dispatcher does, with what a governor chose.
Receipt receipt_of(std::int64_t permille, std::vector<Candidate> running, bool starving = false) {
  Receipt receipt;
  receipt.id = "g7";
  receipt.now = now;
  receipt.budget = gibibytes(1);
  receipt.used = {receipt.budget.count / 1000 * permille};
  receipt.starving = starving;
  receipt.running = std::move(running);
  return decide_again(receipt);
}

TEST_CASE("a receipt says who was chosen, who was spared and why, in the order of giving way") {
  Receipt receipt = receipt_of(870, {candidate("high", Priority::high, mebibytes(500), 9),
                                     candidate("fixed", Priority::low, mebibytes(40), 9),
                                     candidate("low", Priority::low, mebibytes(300), 9)});
  receipt.running[1].preemptable = false;
  receipt = decide_again(receipt);
  receipt.rungs = {{"hint", now - 3s, mebibytes(730), mebibytes(2)},
                   {"reclaim", now - 1s, mebibytes(860), {}}};
  receipt.memory = {{now - 2s, mebibytes(700)}, {now, mebibytes(870)}};
  const auto json = to_json(receipt);
  CHECK(json["action"] == "preempt");
  CHECK(json["id"] == "g7");
  CHECK(json["thresholds"]["preempt"] == 0.85);
  CHECK(json["reading"]["budgetBytes"] == gibibytes(1).count);
  const auto& ranking = json["ranking"];
  REQUIRE(ranking.size() == 3);
  CHECK(ranking[0]["taskId"] == "low");
  CHECK(ranking[0]["chosen"] == true);
  CHECK(ranking[0]["score"] == static_cast<double>(mebibytes(30).count));
  CHECK(ranking[1]["taskId"] == "high");
  CHECK(ranking[1]["chosen"] == false);
  CHECK(ranking[2]["taskId"] == "fixed");
  CHECK(ranking[2]["preemptable"] == false);
  CHECK(json["rungs"][0] == nlohmann::json{{"rung", "hint"},
                                           {"msBefore", 3000.0},
                                           {"usedBytes", mebibytes(730).count},
                                           {"freedBytes", mebibytes(2).count},
                                           {"tookMs", nullptr}});
  CHECK(json["rungs"][1]["freedBytes"].is_null());
  CHECK(json["memory"][0] == nlohmann::json{{"msBefore", 2000.0}, {"usedBytes", mebibytes(700).count}});
}

TEST_CASE("a governor that is given a receipt's reading decides the same again") {
  std::mt19937_64 random(3);
  const auto below = [&random](std::uint64_t n) { return random() % n; };
  int decisions = 0, foreseen = 0;
  for (int round = 0; round < 5000; ++round) {
    std::vector<Candidate> running;
    for (std::uint64_t i = below(12); i > 0; --i) {
      Candidate task = candidate("t" + std::to_string(i), static_cast<Priority>(below(5)),
                                 Bytes{static_cast<std::int64_t>(below(400) << 20)},
                                 static_cast<double>(below(1000000)) / 997);
      task.preemptable = below(5) != 0;
      task.is_protected = below(9) == 0;
      task.suspendable = below(6) == 0;
      task.outgrown = below(6) == 0;
      if (below(4) == 0) task.back_by = now - 1s + std::chrono::nanoseconds(below(4'000'000'000));
      task.dying = task.back_by && below(2) == 0;
      if (below(3) == 0) {
        task.growth = {mebibytes(static_cast<std::int64_t>(below(100))), Duration(below(60'000))};
        task.most = task.memory + mebibytes(static_cast<std::int64_t>(below(400)));
      }
      task.grace = Duration(below(10'000));
      task.may_leave_early = below(6) != 0;
      running.push_back(std::move(task));
    }
    Receipt receipt = receipt_of(600 + static_cast<std::int64_t>(below(500)), running, below(8) == 0);
    if (below(4) != 0) receipt.time_to_act = Duration(below(2000));
    receipt.idle = {static_cast<std::int64_t>(below(30) << 20)};
    receipt.ending = {static_cast<std::int64_t>(below(30) << 20)};
    receipt = decide_again(receipt);
    decisions += receipt.chosen.empty() ? 0 : 1;
    foreseen += receipt.prediction && !receipt.chosen.empty() ? 1 : 0;
    const auto told = to_json(receipt);
    const auto read = parse_receipt(nlohmann::json::parse(told.dump()));
    REQUIRE(read.has_value());
    CHECK(read->chosen == receipt.chosen);
    const Receipt again = decide_again(*read);
    CHECK(again.chosen == receipt.chosen);
    CHECK(again.kill == receipt.kill);
    CHECK(to_json(again)["ranking"] == told["ranking"]);
    CHECK(to_json(again)["prediction"] == told["prediction"]);
  }
  CHECK(foreseen > 100);
  CHECK(decisions > 1000);
}

TEST_CASE("admission that is given a receipt's reading makes the same room again") {
  std::mt19937_64 random(5);
  const auto below = [&random](std::uint64_t n) { return static_cast<std::int64_t>(random() % n); };
  int decisions = 0;
  for (int round = 0; round < 5000; ++round) {
    Receipt receipt = receipt_of(600, {});
    RoomAsked asked{.task_id = "new",
                    .priority = static_cast<Priority>(below(4)),
                    .footprint = mebibytes(1 + below(500)),
                    .line = mebibytes(870),
                    .elsewhere = mebibytes(below(20)),
                    .workers = {},
                    .end_workers = {}};
    for (std::int64_t i = below(10); i >= 0; --i) {
      WorkerLoad load{"w" + std::to_string(i), mebibytes(below(200)), mebibytes(below(200)),
                      static_cast<WorkerLoad::Standing>(below(4)), now - Duration{below(100000)}};
      if (load.standing == WorkerLoad::Standing::busy) {
        receipt.running.push_back(candidate("t" + std::to_string(i), static_cast<Priority>(below(5)),
                                            committed(load), static_cast<double>(below(1000000)) / 997));
        receipt.running.back().preemptable = below(5) != 0;
      }
      asked.workers.push_back(std::move(load));
    }
    if (below(3) == 0) asked.worker = asked.workers.front().worker_id;
    const auto answer = admit({asked.line, asked.elsewhere, asked.workers, asked.worker, asked.priority,
                               asked.footprint, receipt.running});
    const auto* room = std::get_if<MakeRoom>(&answer);
    if (room == nullptr || room->preempt.empty()) continue;
    asked.end_workers = room->end_workers;
    receipt.chosen = room->preempt;
    receipt.room = asked;
    decisions += 1;
    const auto text = to_json(receipt).dump();
    const auto read = parse_receipt(nlohmann::json::parse(text));
    REQUIRE(read.has_value());
    CHECK(std::ranges::is_permutation(read->chosen, receipt.chosen));
    const Receipt again = decide_again(*read);
    CHECK(again.chosen == receipt.chosen);
    CHECK(again.room->end_workers == asked.end_workers);
  }
  CHECK(decisions > 300);
}

TEST_CASE("what is no receipt is refused with the field") {
  auto good = to_json(receipt_of(960, {candidate("a", Priority::low, mebibytes(100), 1)}));
  CHECK(parse_receipt(good).has_value());
  for (const char* name : {"id", "action", "reading", "thresholds", "ranking", "room"}) {
    CAPTURE(name);
    auto bad = good;
    bad.erase(name);
    const auto read = parse_receipt(bad);
    REQUIRE_FALSE(read.has_value());
    CHECK(read.error().message.find(name) != std::string::npos);
  }
  for (const auto& [name, number] :
       {std::pair("memoryBytes", 1e300), {"graceMs", 1e300}, {"backInMs", 1e300}}) {
    CAPTURE(name);
    auto bad = good;
    bad["ranking"][0][name] = number;
    CHECK_FALSE(parse_receipt(bad).has_value());
  }
  good["ranking"][0]["priority"] = "urgent";
  CHECK_FALSE(parse_receipt(good).has_value());
  CHECK_FALSE(parse_receipt(nlohmann::json::array()).has_value());
}

}  // namespace
}  // namespace kurultai::receipt_test
