#include "governance/receipt.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace kurultai {

using nlohmann::json;

namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

double before(TimePoint at, TimePoint now) { return Milliseconds(now - at).count(); }

json candidate_json(const Candidate& task, const Receipt& receipt) {
  json object = {{"taskId", task.task_id},
                 {"priority", to_string(task.priority)},
                 {"memoryBytes", task.memory.count},
                 {"workLostSeconds", task.work_lost},
                 {"score", score(task)},
                 {"preemptable", task.preemptable},
                 {"suspendable", task.suspendable},
                 {"protected", task.is_protected},
                 {"outgrown", task.outgrown},
                 {"dying", task.dying},
                 {"backInMs", nullptr},
                 {"chosen", std::ranges::find(receipt.chosen, task.task_id) != receipt.chosen.end()}};
  if (task.back_by) object["backInMs"] = -before(*task.back_by, receipt.now);
  return object;
}

/// Nobody lost anything by it.
bool only_suspends(const Receipt& receipt) {
  return std::ranges::none_of(receipt.running, [&](const Candidate& task) {
    return !task.suspendable && std::ranges::find(receipt.chosen, task.task_id) != receipt.chosen.end();
  });
}

/// In the order in which they would give way, and then those that cannot.
std::vector<const Candidate*> in_order(const Receipt& receipt) {
  std::vector<const Candidate*> order = rank_victims(receipt.running, receipt.kill);
  for (const Candidate& task : receipt.running) {
    if (std::ranges::find(order, &task) == order.end()) order.push_back(&task);
  }
  return order;
}

json rung_json(const Rung& rung, TimePoint now) {
  return {{"rung", rung.name},
          {"msBefore", before(rung.at, now)},
          {"usedBytes", rung.used.count},
          {"freedBytes", rung.freed ? json(rung.freed->count) : json()},
          {"tookMs", rung.took ? json(rung.took->count()) : json()}};
}

Candidate parse_candidate(const json& object) {
  Candidate task;
  task.task_id = object.at("taskId").get<std::string>();
  task.priority = parse_priority(object.at("priority").get<std::string>()).value();
  task.memory = {object.at("memoryBytes").get<std::int64_t>()};
  task.work_lost = object.at("workLostSeconds").get<double>();
  task.preemptable = object.at("preemptable").get<bool>();
  task.suspendable = object.at("suspendable").get<bool>();
  task.is_protected = object.at("protected").get<bool>();
  task.outgrown = object.at("outgrown").get<bool>();
  task.dying = object.at("dying").get<bool>();
  if (const json& back = object.at("backInMs"); !back.is_null()) {
    task.back_by =
        TimePoint{} + std::chrono::duration_cast<TimePoint::duration>(Milliseconds(back.get<double>()));
  }
  return task;
}

Receipt parse_whole(const json& object) {
  Receipt receipt;
  receipt.id = object.at("id").get<std::string>();
  receipt.kill = object.at("action").get<std::string>() == "kill";
  const json& reading = object.at("reading");
  const auto bytes = [&reading](const char* name) { return Bytes{reading.at(name).get<std::int64_t>()}; };
  receipt.used = bytes("usedBytes");
  receipt.budget = bytes("budgetBytes");
  receipt.idle = bytes("idleBytes");
  receipt.ending = bytes("endingBytes");
  receipt.starving = reading.at("starving").get<bool>();
  const json& thresholds = object.at("thresholds");
  for (std::size_t i = 0; i < threshold_count; ++i) {
    receipt.thresholds.ratio.at(i) =
        thresholds.at(std::string(to_string(static_cast<Threshold>(i)))).get<double>();
  }
  for (const json& task : object.at("ranking")) {
    receipt.running.push_back(parse_candidate(task));
    if (task.at("chosen").get<bool>()) receipt.chosen.push_back(receipt.running.back().task_id);
  }
  return receipt;
}

}  // namespace

std::vector<std::string> decide_again(const Receipt& receipt) {
  Governor governor(receipt.thresholds);
  const Situation situation{receipt.used, receipt.budget, receipt.running,
                            receipt.idle, receipt.ending, receipt.starving};
  std::vector<std::string> chosen;
  for (const Action& action : governor.decide(situation, receipt.now)) {
    if (const std::string* victim = victim_of(action)) chosen.push_back(*victim);
  }
  return chosen;
}

json to_json(const Receipt& receipt) {
  json thresholds = json::object();
  for (std::size_t i = 0; i < threshold_count; ++i)
    thresholds[std::string(to_string(static_cast<Threshold>(i)))] = receipt.thresholds.ratio.at(i);
  json ranking = json::array();
  for (const Candidate* task : in_order(receipt)) ranking.push_back(candidate_json(*task, receipt));
  json rungs = json::array();
  for (const Rung& rung : receipt.rungs) rungs.push_back(rung_json(rung, receipt.now));
  json memory = json::array();
  for (const UsedAt& point : receipt.memory)
    memory.push_back({{"msBefore", before(point.at, receipt.now)}, {"usedBytes", point.used.count}});
  return {{"id", receipt.id},
          {"time", to_rfc3339(receipt.time)},
          {"action", receipt.kill             ? "kill"
                     : only_suspends(receipt) ? "suspend"
                                              : "preempt"},
          {"reading",
           {{"usedBytes", receipt.used.count},
            {"budgetBytes", receipt.budget.count},
            {"ratio", ratio_of(receipt.used, receipt.budget)},
            {"idleBytes", receipt.idle.count},
            {"endingBytes", receipt.ending.count},
            {"starving", receipt.starving}}},
          {"thresholds", std::move(thresholds)},
          {"ranking", std::move(ranking)},
          {"rungs", std::move(rungs)},
          {"memory", std::move(memory)}};
}

Result<Receipt> parse_receipt(const json& object) {
  try {
    return parse_whole(object);
  } catch (const std::exception& error) {  // of the JSON library: a field is missing or of another type
    return failure(std::string("receipt: ") + error.what());
  }
}

}  // namespace kurultai
