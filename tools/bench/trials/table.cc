#include "tools/bench/trials/table.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace kurultai::bench {

namespace {

using nlohmann::json;

std::string row(const std::string& name, const std::string& value) {
  return name + std::string(name.size() < 44 ? 44 - name.size() : 1, ' ') + value + "\n";
}

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string quantiles(const std::vector<double>& values) {
  if (values.empty()) return "none";
  return "p50 " + fixed(percentile(values, 0.5), 1) + "  p99 " + fixed(percentile(values, 0.99), 1) +
         "  max " + fixed(percentile(values, 1), 1) + " ms  (" + std::to_string(values.size()) + ")";
}

json spread_json(const std::vector<double>& values) {
  return {{"count", values.size()},
          {"p50", percentile(values, 0.5)},
          {"p99", percentile(values, 0.99)},
          {"max", percentile(values, 1)}};
}

/// The median of the ratios of neighbours in time: the machine's load changes more than ours does.
double growth_ratio(const Growth& growth) {
  std::vector<double> ratios;
  ratios.reserve(growth.ours.size());
  for (std::size_t i = 0; i < growth.ours.size(); ++i) ratios.push_back(growth.ours[i] / growth.floor[i]);
  return percentile(ratios, 0.5);
}

}  // namespace

void Sum::add(const Round& round) {
  if (!round.faults.empty()) {
    ++wrong;
  } else {
    ++(round.counts ? right : not_counted);
  }
  for (const Subject& subject : round.subjects) {
    for (const Turn& turn : subject.turns) {
      if (turn.why.empty()) continue;
      ++(turn.why == "preempt" ? preempted : killed);
      (turn.why == "preempt" ? preempt_ms : kill_ms).push_back(turn.ended - turn.decided);
    }
  }
  bystander_turns += round.bystander_turns;
  pauses_ms.insert(pauses_ms.end(), round.pauses_ms.begin(), round.pauses_ms.end());
  memory_waits_ms.insert(memory_waits_ms.end(), round.memory_waits_ms.begin(), round.memory_waits_ms.end());
  control_pauses_ms.push_back(round.control_pause_ms);
  if (round.growers_wait_ms) growers_waits_ms.push_back(*round.growers_wait_ms);
}

std::string to_table(const Sum& sum, const GroupCounts& counts, const Growth& growth) {
  std::string text = row("rounds that count, right",
                         std::to_string(sum.right) + " of " + std::to_string(sum.right + sum.wrong) +
                             "   (not counted, and run again: " + std::to_string(sum.not_counted) + ")");
  text += row("gave way",
              std::to_string(sum.preempted) + " preempted, " + std::to_string(sum.killed) + " killed");
  text += row("longest pause of a bystander",
              quantiles(sum.pauses_ms) + ", " + std::to_string(sum.bystander_turns) + " turns");
  text += row("  floor: in no group, same rounds", quantiles(sum.control_pauses_ms));
  if (!sum.memory_waits_ms.empty())
    text += row("all waits of a bystander for memory", quantiles(sum.memory_waits_ms));
  text += row("preempted, decision to memory back", quantiles(sum.preempt_ms));
  text += row("killed, decision to memory back", quantiles(sum.kill_ms));
  text += row("longest wait of a grower", quantiles(sum.growers_waits_ms));
  if (counts.path.empty()) {
    text += row("limit of all workers", "none: no cgroup can be written here");
  } else {
    text += row("limit of all workers", to_string(counts.limit) + ", most ever charged " +
                                            to_string(counts.highest) + ", reached " +
                                            std::to_string(counts.limit_reached) + " times, " +
                                            std::to_string(counts.kernel_kills) + " kernel kills");
  }
  text += row("growth of " + std::to_string(growth.mib) + " MiB with room",
              fixed(percentile(growth.ours, 0.5) * 1000, 0) + " ms, floor (bare) " +
                  fixed(percentile(growth.floor, 0.5) * 1000, 0) + " ms, ratio " +
                  fixed(growth_ratio(growth), 2));
  text += row("  longest wait in it", quantiles(growth.waits_ms));
  return text + row("  floor: bare", quantiles(growth.floor_waits_ms));
}

json to_json(const Sum& sum, const GroupCounts& counts, const Growth& growth) {
  return {{"right", sum.right},
          {"wrong", sum.wrong},
          {"notCounted", sum.not_counted},
          {"preempted", sum.preempted},
          {"killed", sum.killed},
          {"bystanderTurns", sum.bystander_turns},
          {"bystanderPauseMs", spread_json(sum.pauses_ms)},
          {"bystanderMemoryWaitMs", spread_json(sum.memory_waits_ms)},
          {"controlPauseMs", spread_json(sum.control_pauses_ms)},
          {"preemptMs", spread_json(sum.preempt_ms)},
          {"killMs", spread_json(sum.kill_ms)},
          {"growerWaitMs", spread_json(sum.growers_waits_ms)},
          {"limitBytes", counts.limit.count},
          {"mostChargedBytes", counts.highest.count},
          {"limitReached", counts.limit_reached},
          {"kernelKills", counts.kernel_kills},
          {"growth",
           {{"mib", growth.mib},
            {"oursSeconds", percentile(growth.ours, 0.5)},
            {"floorSeconds", percentile(growth.floor, 0.5)},
            {"ratio", growth_ratio(growth)},
            {"waitMs", spread_json(growth.waits_ms)},
            {"floorWaitMs", spread_json(growth.floor_waits_ms)}}}};
}

}  // namespace kurultai::bench
