#include "tests/simulation/workload.h"

#include <algorithm>
#include <array>

#include "tests/simulation/dice.h"

namespace kurultai::simulation {

namespace {

constexpr std::uint64_t of_settings = 11, of_actions = 12, of_levels = 13;

int small(Dice& dice, std::int64_t low, std::int64_t high) {
  return static_cast<int>(dice.between(low, high));
}

AgentConfig agent(Dice& dice, const std::string& name, Bytes budget) {
  AgentConfig agent;
  agent.name = name;
  agent.command = {name};
  agent.memory_limit = mebibytes(dice.between(24, std::min<std::int64_t>(600, budget.count >> 20)));
  agent.memory_warning = Bytes{agent.memory_limit->count / 4 * 3};
  agent.timeout = Duration(dice.skewed(300, 20'000));
  agent.start_timeout = Duration(dice.between(300, 5000));
  agent.grace = Duration(dice.skewed(20, 4000));
  agent.retries = small(dice, 0, 2);
  agent.max_preemptions = small(dice, 1, 10);
  if (dice.one_in(4)) agent.stall_timeout = Duration(dice.between(200, 3000));
  if (dice.one_in(5)) agent.on_child_oom = OnChildOom::warn;
  agent.suspendable = !dice.one_in(8);
  agent.env["AGENT"] = name;
  return agent;
}

std::map<std::string, AgentConfig> agents(Dice& dice, Bytes budget) {
  std::map<std::string, AgentConfig> agents;
  for (const char* name :
       {"plain", "once", "guarded", "wide", "firm", "recycled", "command", "oncecommand"}) {
    agents[name] = agent(dice, name, budget);
  }
  agents["once"].idempotent = false;
  agents["guarded"].protect = true;
  agents["wide"].concurrency = small(dice, 2, 4);
  agents["firm"].preemptable = false;
  agents["command"].protocol = AgentProtocol::exec;
  agents["oncecommand"].protocol = AgentProtocol::exec;
  agents["oncecommand"].idempotent = false;
  agents["recycled"].max_tasks = small(dice, 1, 4);
  return agents;
}

QueueLimits queue_limits(Dice& dice) {
  QueueLimits limits;
  limits.max_depth = static_cast<std::size_t>(dice.skewed(1, 40));
  for (std::size_t& level : limits.per_level) level = static_cast<std::size_t>(dice.between(1, 20));
  return limits;
}

std::optional<int> most_workers(Dice& dice) {
  return dice.one_in(3) ? std::nullopt : std::optional(small(dice, 1, 8));
}

Config config_of(Dice& dice) {
  Config config;
  config.memory.budget = mebibytes(dice.skewed(160, 2048));
  config.workers.max = most_workers(dice);
  config.workers.idle_timeout = Duration(dice.between(500, 20'000));
  config.workers.max_restarts_per_hour = dice.one_in(8) ? 10 : 1'000'000;
  config.queue = queue_limits(dice);
  config.overtaking = {dice.one_in(3), small(dice, 1, 10)};
  constexpr std::array rules = {AdmissionRule::footprint, AdmissionRule::footprint, AdmissionRule::footprint,
                                AdmissionRule::cap, AdmissionRule::none};
  config.admission = rules[dice.roll() % rules.size()];
  config.agents = agents(dice, *config.memory.budget);
  config.store.max_finished = dice.one_in(4) ? 5 : 1000;
  LadderConfig& ladder = config.memory.ladder;
  for (bool* rung : {&ladder.hint, &ladder.reclaim, &ladder.end_idle, &ladder.suspend, &ladder.preempt})
    *rung = !dice.one_in(24);
  config.flags.memory_governance = !dice.one_in(16);
  config.flags.worker_pool = !dice.one_in(10);
  config.flags.circuit_breakers = dice.one_in(4);
  return config;
}

/// So that tasks are suspended often: many that last, with little memory for all of them.
void make_tight(Dice& dice, Config& config) {
  config.memory.budget = mebibytes(dice.skewed(160, 700));
  if (dice.one_in(2)) config.admission = AdmissionRule::none;
  if (!dice.one_in(3)) config.workers.max = small(dice, 4, 12);
  for (auto& [name, agent] : config.agents) {
    agent.timeout = Duration(dice.between(2000, 60'000));
    if (*agent.memory_limit > *config.memory.budget) agent.memory_limit = config.memory.budget;
    agent.memory_warning = Bytes{agent.memory_limit->count / 4 * 3};
  }
}

Faults faults_of(Dice& dice) {
  Faults faults;
  if (dice.one_in(2)) return faults;
  const auto rate = [&](int low, int high) { return dice.one_in(2) ? 0 : small(dice, low, high); };
  faults.reading_fails = rate(5, 200);
  faults.reading_lags = rate(3, 100);
  faults.no_group = rate(3, 50);
  faults.edge_refused = rate(5, 200);
  faults.slow_death = rate(5, 100);
  faults.no_suspension = rate(3, 50);
  faults.slow_paging = rate(1, 10);
  faults.pinned = rate(1, 10);
  return faults;
}

Submission submission(Dice& dice, std::size_t number) {
  constexpr std::array names = {"plain", "plain",   "once",    "guarded",  "wide",       "wide",
                                "firm",  "command", "command", "recycled", "oncecommand"};
  Submission submission;
  submission.agent = names[dice.roll() % names.size()];
  submission.payload = std::to_string(number);
  submission.priority = all_priorities[dice.roll() % all_priorities.size()];
  if (dice.one_in(5)) submission.timeout = Duration(dice.skewed(50, 10'000));
  if (dice.one_in(5)) submission.retries = small(dice, 0, 3);
  if (dice.one_in(3)) submission.size_class = dice.one_in(2) ? "small" : "large";
  return submission;
}

std::shared_ptr<const Config> reloaded(Dice& dice, const Config& before) {
  Config config = before;
  const std::int64_t budget = before.memory.budget->count;
  switch (dice.roll() % 5) {
    case 0:
      config.memory.budget = Bytes{std::max(budget * dice.between(50, 150) / 100, mebibytes(128).count)};
      break;
    case 1:
      config.workers.max = most_workers(dice);
      break;
    case 2:
      config.queue = queue_limits(dice);
      break;
    case 3:
      config.agents["plain"].memory_limit = mebibytes(dice.between(24, 128));
      config.agents["plain"].memory_warning = mebibytes(20);
      break;
    default:
      config.memory.thresholds.ratio = {0.5, 0.7, 0.8, 0.9};
      break;
  }
  return std::make_shared<const Config>(std::move(config));
}

Level level_of(std::uint64_t seed) {
  Dice dice(seed_for(seed, of_levels, 0));
  Level level;
  level.edges = !dice.one_in(8);
  level.slows = level.edges && dice.one_in(2);
  level.events = !level.slows && dice.one_in(2);
  if (level.slows && !dice.one_in(4)) level.swap = mebibytes(dice.skewed(32, 2048));
  return level;
}

}  // namespace

Setting setting_of(std::uint64_t seed) {
  Dice dice(seed_for(seed, of_settings, 0));
  Setting setting;
  setting.level = level_of(seed);
  Config config = config_of(dice);
  if (setting.level.swap > Bytes{}) make_tight(dice, config);
  setting.config = std::make_shared<const Config>(std::move(config));
  setting.faults = faults_of(dice);
  constexpr std::array gaps = {20, 60, 150, 400, 1000};
  setting.longest_gap = Duration(gaps[dice.roll() % gaps.size()]);
  setting.drains_at_once = dice.one_in(4);
  setting.drain_limit = Duration(dice.between(0, 5000));
  setting.hurries = dice.one_in(4);
  setting.has_disk = dice.one_in(3);
  setting.disk_fails = dice.one_in(2);
  return setting;
}

// Reloads start from the first configuration, or leaving one out would change the later ones.
Planned action_of(std::uint64_t seed, std::size_t number, const Setting& setting) {
  Dice dice(seed_for(seed, of_actions, number));
  Planned planned;
  if (!dice.one_in(4)) planned.gap = Duration(dice.skewed(0, setting.longest_gap.count()));
  if (dice.one_in(60)) {
    planned.action = Reload{reloaded(dice, *setting.config)};
  } else if (dice.one_in(12)) {
    planned.action = CancelOne{static_cast<std::size_t>(dice.skewed(0, 20))};
  } else {
    planned.action = submission(dice, number);
  }
  return planned;
}

}  // namespace kurultai::simulation
