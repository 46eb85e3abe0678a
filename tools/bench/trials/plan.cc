#include "tools/bench/trials/plan.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "tools/bench/dice.h"

namespace kurultai::bench {

namespace {

constexpr int supervisor_mib = 12;
constexpr int process_mib = 2;  // of an agent's own, on top of what it holds

// Shares of the budget. Preemption begins at 0.85 and goes on to 0.83.
constexpr double held_least = 0.50;
constexpr double held_most = 0.68;
constexpr double surely_too_much = 0.88;
constexpr double surely_fits = 0.80;

// In these what is preempted does not come back in time, and has to be killed.
constexpr double share_of_deaf_rounds = 0.4;

Priority any_priority(Dice& dice) {
  static constexpr std::array levels = {Priority::critical, Priority::high, Priority::normal, Priority::low};
  return levels.at(dice.number() % levels.size());
}

Priority growers_priority(Dice& dice) {
  const double thrown = dice.between(0, 1);
  return thrown < 0.7 ? Priority::high : thrown < 0.85 ? Priority::normal : Priority::low;
}

}  // namespace

Plan make_plan(std::uint64_t seed, int holders, Bytes budget) {
  Dice dice(seed);
  Plan plan;
  const double whole = static_cast<double>(budget.count) / static_cast<double>(mebibytes(1).count);
  const double overhead = supervisor_mib + process_mib * (holders + 1);
  const bool deaf = dice.between(0, 1) < share_of_deaf_rounds;
  const double held = std::max(whole * dice.between(held_least, held_most) - overhead, 4.0 * holders);
  std::vector<double> weights;
  double sum = 0;
  for (int i = 0; i < holders; ++i) sum += weights.emplace_back(dice.between(0.2, 1));
  plan.grower.priority = growers_priority(dice);
  int total = 0;
  int lower = 0;
  for (const double weight : weights) {
    const Part part{any_priority(dice), std::max(2, static_cast<int>(held * weight / sum)), deaf};
    plan.holders.push_back(part);
    total += part.mib;
    if (part.priority > plan.grower.priority) lower += part.mib;
  }
  const double least = whole * surely_too_much - overhead - total;
  const double most = whole * surely_fits - overhead - (total - lower);
  // The more it wants, the sooner it is at the end of all there is.
  plan.grower.mib = static_cast<int>(least + std::max(0.0, most - least) * std::sqrt(dice.between(0, 1)));
  return plan;
}

}  // namespace kurultai::bench
