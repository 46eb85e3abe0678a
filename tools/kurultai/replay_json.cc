#include <nlohmann/json.hpp>

#include "tools/kurultai/replay_report.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr std::size_t curve_points = 200;

double seconds(TimePoint::duration time) { return std::chrono::duration<double>(time).count(); }
double seconds(TimePoint at) { return seconds(at.time_since_epoch()); }

json deed_json(const Deed& deed) {
  const bool names_one = !deed.task_id.empty();
  return {{"seconds", seconds(deed.at)},
          {"act", to_string(deed.kind)},
          {"taskId", names_one ? json(deed.task_id) : json()},
          {"agent", deed.agent.empty() ? json() : json(deed.agent)},
          {"priority", names_one ? json(to_string(deed.priority)) : json()},
          {"memoryBytes", deed.memory.count},
          {"ratio", deed.ratio}};
}

json crossing_json(const CrossedAt& crossed) {
  return {{"seconds", seconds(crossed.at)},
          {"threshold", to_string(crossed.crossing.threshold)},
          {"direction", crossed.crossing.direction == Direction::up ? "up" : "down"},
          {"ratio", crossed.crossing.ratio}};
}

json thresholds_json(const PolicyTally& tally) {
  json over = json::object();
  for (std::size_t i = 0; i < threshold_count; ++i) {
    over[std::string(to_string(static_cast<Threshold>(i)))] = {{"crossings", tally.crossed_up.at(i)},
                                                               {"seconds", seconds(tally.over.at(i))}};
  }
  return over;
}

json tally_json(const PolicyTally& tally, const PolicyRules& rules) {
  json counts = json::object();
  for (std::size_t i = 0; i < deed_kinds; ++i)
    counts[std::string(to_string(static_cast<DeedKind>(i)))] = tally.deeds.at(i);
  json acts = json::array();
  for (const Deed& deed : tally.first_deeds) acts.push_back(deed_json(deed));
  json crossings = json::array();
  for (const CrossedAt& crossed : tally.first_crossings) crossings.push_back(crossing_json(crossed));
  json used = json::array();
  for (const Bytes bytes : tally.profile.columns(curve_points)) used.push_back(bytes.count);
  return {{"rules", to_json(rules)},
          {"peak",
           {{"ratio", tally.peak_ratio},
            {"usedBytes", tally.peak_used.count},
            {"seconds", seconds(tally.peak_at)}}},
          {"over", thresholds_json(tally)},
          {"counts", std::move(counts)},
          {"acts", std::move(acts)},
          {"crossings", std::move(crossings)},
          {"accepted", tally.accepted},
          {"refusedForMemory", tally.refused_for_memory},
          {"refusedForQueue", tally.refused_for_queue},
          {"heartbeatsHeldBack", tally.heartbeats_held},
          {"heartbeatsEvicted", tally.evicted},
          {"starts", tally.starts},
          {"startsAbovePreempt", tally.starts_held_by_pressure},
          {"startsWithoutRoom", tally.starts_without_room},
          {"curve", {{"seconds", seconds(tally.profile.length())}, {"usedBytes", std::move(used)}}}};
}

}  // namespace

json to_json(const ReplayReport& report) {
  const LifeTally& life = report.life;
  json policies = json::array();
  for (const TriedPolicy& policy : report.policies) {
    const auto difference = policy.replay.first_difference();
    json one = tally_json(policy.replay.tally(), policy.replay.rules());
    one["config"] = policy.name.empty() ? json() : json(policy.name);
    one["sameAsRecorded"] = !difference;
    one["firstDifferenceSeconds"] = difference ? json(seconds(*difference)) : json();
    policies.push_back(std::move(one));
  }
  return {{"file", report.file},
          {"startedAt", report.header.started_at},
          {"guarantee", report.header.guarantee},
          {"seconds", seconds(life.last())},
          {"readings", life.readings()},
          {"longestGapSeconds", seconds(life.longest_gap())},
          {"missingRecords", life.dropped()},
          {"end", life.closed().empty() ? json() : json(life.closed())},
          {"refusedOtherwise", life.refused_otherwise()},
          {"recorded", tally_json(life.tally(), life.rules())},
          {"policies", std::move(policies)}};
}

}  // namespace kurultai
