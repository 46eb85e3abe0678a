// kurultai-simulation [--seed N] [--steps N] [--until-steps N] [--regressions FILE] [--trace]
//   --seed N            the first world's seed; the others follow (1)
//   --steps N           of one world, until it is left to come to its end (50000)
//   --until-steps N     of all worlds; 0: only the first one (0). 10M is ten million
//   --regressions FILE  runs the seeds in it instead: SEED [STEPS] and what it showed, one a line
//   --trace             prints what happens, of one seed
// Exit status 1 when an invariant did not hold: then it prints which, and a trace as short as it can be made.
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/simulation/shrink.h"
#include "tests/simulation/world.h"

namespace kurultai::simulation {

namespace {

constexpr unsigned longest_world_s = 120;
constexpr std::size_t longest_trace = 400;  // lines; the newest

struct Options {
  Plan plan;
  std::uint64_t until_steps = 0;
  std::string regressions;
  bool trace = false;
};

std::uint64_t parse_count(const std::string& text) {
  std::size_t end = 0;
  const std::uint64_t count = std::stoull(text, &end);
  if (text.substr(end) == "M") return count * 1'000'000;
  if (text.substr(end) == "k") return count * 1'000;
  if (end != text.size()) throw std::invalid_argument(text);
  return count;
}

Options parse(const std::vector<std::string>& words) {
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& name = words[i];
    if (name == "--trace") {
      options.trace = true;
      continue;
    }
    const std::string& value = words.at(++i);
    if (name == "--seed") {
      options.plan.seed = parse_count(value);
    } else if (name == "--steps") {
      options.plan.steps = parse_count(value);
    } else if (name == "--until-steps") {
      options.until_steps = parse_count(value);
    } else if (name == "--regressions") {
      options.regressions = value;
    } else {
      throw std::invalid_argument(name);
    }
  }
  return options;
}

/// What a world that never gives the loop back has as its last word.
std::array<char, 100> stuck_message{};

Outcome run_world(const Plan& plan, bool traces) {
  std::snprintf(stuck_message.data(), stuck_message.size(),
                "no livelock: seed %llu: one step does not come to its end\n",
                static_cast<unsigned long long>(plan.seed));
  ::signal(SIGALRM, [](int) {
    [[maybe_unused]] const auto written =
        ::write(STDERR_FILENO, stuck_message.data(), ::strlen(stuck_message.data()));
    ::_exit(1);
  });
  ::alarm(longest_world_s);
  Outcome outcome = World(plan, traces).run();
  ::alarm(0);
  return outcome;
}

void print_trace(const std::vector<std::string>& lines) {
  const std::size_t from = lines.size() - std::min(lines.size(), longest_trace);
  if (from > 0) std::printf("… %zu lines before\n", from);
  for (std::size_t i = from; i < lines.size(); ++i) std::printf("%s\n", lines[i].c_str());
}

/// Shows a failure as small as it can be made.
void complain(const Plan& plan, const Violation& violation) {
  std::printf("VIOLATED: %s: %s\n  seed %llu, steps %llu; making it small …\n", violation.invariant.c_str(),
              violation.what.c_str(), static_cast<unsigned long long>(plan.seed),
              static_cast<unsigned long long>(plan.steps));
  std::fflush(stdout);
  const Plan smallest = shrink(plan, violation.invariant);
  const Outcome outcome = World(smallest, true).run();
  print_trace(outcome.trace);
  if (outcome.violation) {
    std::printf("VIOLATED: %s: %s\n", outcome.violation->invariant.c_str(), outcome.violation->what.c_str());
  }
  std::printf("  seed %llu, steps %llu; shown with %zu of its actions%s\n",
              static_cast<unsigned long long>(plan.seed), static_cast<unsigned long long>(plan.steps),
              outcome.acted, smallest.calm ? ", nothing failing in the kernel" : "");
}

struct Sum {
  std::uint64_t worlds = 0;
  std::uint64_t steps = 0;
  Ledger::Counts counts;
  std::uint64_t decisions = 0, foreseen = 0, oom_kills = 0, waits = 0, drains = 0, suspensions = 0;

  void add(const Outcome& outcome) {
    worlds += 1;
    steps += outcome.steps;
    decisions += outcome.decisions;
    foreseen += outcome.foreseen;
    oom_kills += outcome.oom_kills;
    waits += outcome.waits;
    drains += outcome.drains;
    suspensions += outcome.suspensions;
    const Ledger::Counts& one = outcome.counts;
    counts.submitted += one.submitted;
    counts.refused += one.refused;
    counts.starts += one.starts;
    counts.preempted += one.preempted;
    counts.killed += one.killed;
    counts.retried += one.retried;
    counts.completed += one.completed;
    counts.failed += one.failed;
    counts.cancelled += one.cancelled;
    counts.evicted += one.evicted;
    counts.workers += one.workers;
    counts.resumed += one.resumed;
    counts.commands += one.commands;
  }

  void print(double seconds) const {
    const auto show = [](const char* what, std::uint64_t count) {
      std::printf("  %-28s %llu\n", what, static_cast<unsigned long long>(count));
    };
    std::printf("%llu worlds, %llu steps in %.1f s: %.0f steps/s\n", static_cast<unsigned long long>(worlds),
                static_cast<unsigned long long>(steps), seconds, static_cast<double>(steps) / seconds);
    show("tasks taken", counts.submitted);
    show("tasks refused", counts.refused);
    show("starts", counts.starts);
    show("workers", counts.workers);
    show("sent back", counts.preempted);
    show("sent back by a kill", counts.killed);
    show("decisions with a receipt", decisions);
    show("of these foreseen", foreseen);
    show("retries", counts.retried);
    show("completed", counts.completed);
    show("failed", counts.failed);
    show("cancelled", counts.cancelled);
    show("evicted", counts.evicted);
    show("waits at an edge", waits);
    show("kernel kills for a cap", oom_kills);
    show("suspended", suspensions);
    show("resumed", counts.resumed);
    show("commands completed", counts.commands);
    show("drains", drains);
  }
};

/// SEED [STEPS], then anything.
std::vector<Plan> read_regressions(const std::string& file, const Plan& like) {
  std::ifstream input(file);
  if (!input) throw std::runtime_error(file + ": cannot be read");
  std::vector<Plan> plans;
  for (std::string line; std::getline(input, line);) {
    std::istringstream words(line);
    Plan plan = like;
    if (!(words >> plan.seed)) continue;
    words >> plan.steps;
    plans.push_back(plan);
  }
  return plans;
}

int run(const Options& options) {
  std::vector<Plan> plans{options.plan};
  if (!options.regressions.empty()) plans = read_regressions(options.regressions, options.plan);
  const auto started = std::chrono::steady_clock::now();
  Sum sum;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const Outcome outcome = run_world(plans[i], options.trace);
    if (options.trace) print_trace(outcome.trace);
    sum.add(outcome);
    if (outcome.violation) {
      complain(plans[i], *outcome.violation);
      return 1;
    }
    if (options.regressions.empty() && sum.steps < options.until_steps) {
      Plan next = plans[i];
      next.seed += 1;
      plans.push_back(next);
    }
  }
  sum.print(std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
  return 0;
}

}  // namespace

}  // namespace kurultai::simulation

int main(int argc, char** argv) {
  using namespace kurultai::simulation;
  try {
    return run(parse({argv + 1, argv + argc}));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kurultai-simulation: %s\n", error.what());
    return 2;
  }
}
