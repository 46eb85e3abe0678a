#include "governance/receipt.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "protocol/json_text.h"

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
                 {"growthBytesPerSecond", task.growth.per_second.count},
                 {"growthMs", task.growth.lasted.count()},
                 {"mostBytes", task.most.count},
                 {"graceMs", task.grace.count()},
                 {"mayLeaveEarly", task.may_leave_early},
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

const char* action_of(const Receipt& receipt) {
  if (receipt.kill) return "kill";
  return !receipt.room && only_suspends(receipt) ? "suspend" : "preempt";
}

constexpr std::array standings = {"idle", "busy", "leaving", "stuck"};

json load_json(const WorkerLoad& load, TimePoint now) {
  return {{"workerId", load.worker_id},
          {"heldBytes", load.held.count},
          {"expectedBytes", load.expected.count},
          {"standing", standings.at(static_cast<std::size_t>(load.standing))},
          {"idleSinceMs", before(load.idle_since, now)}};
}

json room_json(const RoomAsked& room, TimePoint now) {
  json workers = json::array();
  for (const WorkerLoad& load : room.workers) workers.push_back(load_json(load, now));
  return {{"taskId", room.task_id},
          {"priority", to_string(room.priority)},
          {"footprintBytes", room.footprint.count},
          {"lineBytes", room.line.count},
          {"elsewhereBytes", room.elsewhere.count},
          {"workerId", room.worker.empty() ? json() : json(room.worker)},
          {"workers", std::move(workers)},
          {"endedWorkers", room.end_workers}};
}

json prediction_json(const Prediction& prediction) {
  return {{"growthBytesPerSecond", prediction.growth_per_second.count},
          {"leftMs", prediction.left.count()},
          {"toActMs", prediction.to_act.count()},
          {"graceMs", prediction.grace.count()}};
}

json rung_json(const Rung& rung, TimePoint now) {
  return {{"rung", rung.name},
          {"msBefore", before(rung.at, now)},
          {"usedBytes", rung.used.count},
          {"freedBytes", rung.freed ? json(rung.freed->count) : json()},
          {"tookMs", rung.took ? json(rung.took->count()) : json()}};
}

TimePoint ago(const json& milliseconds) {
  constexpr double most = 1e12;  // 31 years; in nanoseconds it is a number
  const auto count = milliseconds.get<double>();
  if (!(std::abs(count) <= most)) throw std::invalid_argument("a time that is none");
  return TimePoint{} - std::chrono::round<TimePoint::duration>(Milliseconds(count));
}

Duration ms_in(const json& object, const char* name) { return Duration{whole_of(object.at(name))}; }

Bytes bytes_in(const json& object, const char* name) { return {whole_of(object.at(name))}; }

Priority priority_in(const json& object) {
  return parse_priority(object.at("priority").get<std::string>()).value();
}

WorkerLoad parse_load(const json& object) {
  const auto standing = std::ranges::find(standings, object.at("standing").get<std::string>());
  if (standing == standings.end()) throw std::invalid_argument("standing");
  return {object.at("workerId").get<std::string>(), bytes_in(object, "heldBytes"),
          bytes_in(object, "expectedBytes"), static_cast<WorkerLoad::Standing>(standing - standings.begin()),
          ago(object.at("idleSinceMs"))};
}

RoomAsked parse_room(const json& object) {
  RoomAsked room{.task_id = object.at("taskId").get<std::string>(),
                 .priority = priority_in(object),
                 .footprint = bytes_in(object, "footprintBytes"),
                 .line = bytes_in(object, "lineBytes"),
                 .elsewhere = bytes_in(object, "elsewhereBytes"),
                 .workers = {},
                 .end_workers = object.at("endedWorkers").get<std::vector<std::string>>()};
  if (const json& worker = object.at("workerId"); !worker.is_null()) room.worker = worker.get<std::string>();
  for (const json& load : object.at("workers")) room.workers.push_back(parse_load(load));
  return room;
}

Candidate parse_candidate(const json& object) {
  Candidate task;
  task.task_id = object.at("taskId").get<std::string>();
  task.priority = priority_in(object);
  task.memory = bytes_in(object, "memoryBytes");
  task.work_lost = object.at("workLostSeconds").get<double>();
  task.preemptable = object.at("preemptable").get<bool>();
  task.suspendable = object.at("suspendable").get<bool>();
  task.is_protected = object.at("protected").get<bool>();
  task.outgrown = object.at("outgrown").get<bool>();
  task.dying = object.at("dying").get<bool>();
  task.growth = {bytes_in(object, "growthBytesPerSecond"), ms_in(object, "growthMs")};
  task.most = bytes_in(object, "mostBytes");
  task.grace = ms_in(object, "graceMs");
  task.may_leave_early = object.at("mayLeaveEarly").get<bool>();
  if (const json& back = object.at("backInMs"); !back.is_null()) task.back_by = ago(-back.get<double>());
  return task;
}

Receipt parse_receipt_whole(const json& object) {
  Receipt receipt;
  receipt.id = object.at("id").get<std::string>();
  receipt.kill = object.at("action").get<std::string>() == "kill";
  const json& reading = object.at("reading");
  receipt.used = bytes_in(reading, "usedBytes");
  receipt.budget = bytes_in(reading, "budgetBytes");
  receipt.idle = bytes_in(reading, "idleBytes");
  receipt.ending = bytes_in(reading, "endingBytes");
  receipt.starving = reading.at("starving").get<bool>();
  receipt.lowered = reading.at("lowered").get<bool>();
  if (!reading.at("timeToActMs").is_null()) receipt.time_to_act = ms_in(reading, "timeToActMs");
  const json& thresholds = object.at("thresholds");
  for (std::size_t i = 0; i < threshold_count; ++i) {
    receipt.thresholds.ratio.at(i) =
        thresholds.at(std::string(to_string(static_cast<Threshold>(i)))).get<double>();
  }
  for (const json& task : object.at("ranking")) {
    receipt.running.push_back(parse_candidate(task));
    if (task.at("chosen").get<bool>()) receipt.chosen.push_back(receipt.running.back().task_id);
  }
  if (const json& room = object.at("room"); !room.is_null()) receipt.room = parse_room(room);
  return receipt;
}

Receipt admit_again(Receipt receipt) {
  RoomAsked& asked = *receipt.room;
  auto answer = admit({.line = asked.line,
                       .elsewhere = asked.elsewhere,
                       .workers = asked.workers,
                       .worker = asked.worker,
                       .priority = asked.priority,
                       .footprint = asked.footprint,
                       .running = receipt.running});
  const auto* room = std::get_if<MakeRoom>(&answer);
  const MakeRoom made = room != nullptr ? *room : MakeRoom{};
  receipt.chosen = made.preempt;
  asked.end_workers = made.end_workers;
  return receipt;
}

}  // namespace

void note_decision(Receipt& receipt, std::span<const Action> actions) {
  receipt.kill = false;
  receipt.chosen.clear();
  receipt.prediction.reset();
  for (const Action& action : actions) {
    if (std::holds_alternative<KillTask>(action)) receipt.kill = true;
    if (const auto* seen = std::get_if<Foreseen>(&action)) receipt.prediction = seen->prediction;
    if (const std::string* victim = victim_of(action)) receipt.chosen.push_back(*victim);
  }
}

Receipt decide_again(Receipt receipt) {
  if (receipt.room) return admit_again(std::move(receipt));
  Governor governor(receipt.thresholds);
  const Situation situation{receipt.used,   receipt.budget,   receipt.running, receipt.idle,
                            receipt.ending, receipt.starving, receipt.lowered, receipt.time_to_act};
  note_decision(receipt, governor.decide(situation, receipt.now));
  return receipt;
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
          {"action", action_of(receipt)},
          {"reading",
           {{"usedBytes", receipt.used.count},
            {"budgetBytes", receipt.budget.count},
            {"ratio", ratio_of(receipt.used, receipt.budget)},
            {"idleBytes", receipt.idle.count},
            {"endingBytes", receipt.ending.count},
            {"starving", receipt.starving},
            {"lowered", receipt.lowered},
            {"timeToActMs", receipt.time_to_act ? json(receipt.time_to_act->count()) : json()}}},
          {"thresholds", std::move(thresholds)},
          {"ranking", std::move(ranking)},
          {"prediction", receipt.prediction ? prediction_json(*receipt.prediction) : json()},
          {"room", receipt.room ? room_json(*receipt.room, receipt.now) : json()},
          {"rungs", std::move(rungs)},
          {"memory", std::move(memory)}};
}

Result<Receipt> parse_receipt(const json& object) {
  try {
    return parse_receipt_whole(object);
  } catch (const std::exception& error) {  // of the JSON library: a field is missing or of another type
    return failure(std::string("receipt: ") + error.what());
  }
}

}  // namespace kurultai
