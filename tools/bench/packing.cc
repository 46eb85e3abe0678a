// kurultai-packing: how well admission by learned footprints fills a budget. Seeded tasks of very different
// sizes, a few of them leaks, are run by kurultaid, which learns their footprints in a first pass, and by GNU
// parallel (package `parallel`, left out where it is missing); the makespans are compared with a packing that
// knows all beforehand. Exit status 1 when a task that is no leak was ended early, or not done, by kurultaid.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "governance/pressure.h"
#include "protocol/duration.h"
#include "protocol/json_text.h"
#include "tools/bench/child.h"
#include "tools/bench/packing/agent.h"
#include "tools/bench/packing/bare.h"
#include "tools/bench/packing/ours.h"
#include "tools/bench/packing/parallel.h"
#include "tools/bench/packing/schedule.h"
#include "tools/bench/packing/table.h"
#include "tools/bench/packing/workload.h"
#include "tools/bench/scratch.h"
#include "tools/kurultai/interrupts.h"

namespace {

using namespace kurultai;
using namespace kurultai::bench;

struct Options {
  WorkloadOptions workload;
  Bytes budget = gibibytes(1);
  int lessons = 3;
  bool ours = true;
  bool peers = true;
  std::string log_file;
  bool json = false;
};

int mib_of(Bytes bytes) { return static_cast<int>(bytes.count >> 20); }

/// Both passes that are judged know what those before have taught, and nothing of each other.
std::vector<Outcome> run_all_ours(const Course& course, const Options& options) {
  const auto state = [&](const char* name) { return course.directory + "/" + name; };
  const auto pass = [&](const std::string& name, const char* where, bool backfill) {
    return run_ours(course, {name, state(where), backfill, options.log_file});
  };
  std::vector<Outcome> outcomes;
  outcomes.push_back(pass("kurultaid, knows nothing yet, FIFO", "lessons", false));
  // Footprints are learned as well from the same tasks in a quarter of their time.
  auto hurried = std::vector(course.tasks.begin(), course.tasks.end());
  for (PackedTask& task : hurried) task.time /= 4;
  Course lesson = course;
  lesson.tasks = hurried;
  for (int taken = 1; taken < options.lessons; ++taken)
    (void)run_ours(lesson, {"lesson", state("lessons"), true, options.log_file});
  for (const char* name : {"fifo", "backfill"})
    std::filesystem::copy(state("lessons"), state(name), std::filesystem::copy_options::recursive);
  outcomes.push_back(pass("kurultaid, has learned, FIFO", "fifo", false));
  outcomes.push_back(pass("kurultaid, has learned, backfill", "backfill", true));
  return outcomes;
}

void run_peers(const Course& course, std::vector<Outcome>& outcomes, std::vector<Skipped>& skipped) {
  const int by_cap = mib_of(course.budget) / course.cap_mib;
  const int all = static_cast<int>(course.tasks.size());
  for (const ParallelRule& rule :
       {ParallelRule{.jobs = all, .memfree_mib = course.cap_mib},
        ParallelRule{.jobs = all, .memfree_mib = course.cap_mib / 2}, ParallelRule{.jobs = by_cap}}) {
    auto outcome = run_parallel(course, rule);
    if (outcome) {
      outcomes.push_back(*std::move(outcome));
    } else {
      skipped.push_back(
          {rule.memfree_mib > 0 ? "parallel --memfree" : "parallel --jobs", outcome.error().message});
    }
  }
}

int compare_all(const Options& options) {
  const Interrupts interrupts;
  const Scratch scratch("kurultai-packing");
  const auto tasks = make_workload(options.workload);
  const Course course{tasks, options.budget, options.workload.most_mib, scratch.path()};
  const Bytes usable = share_of(options.budget, Thresholds{}.at(Threshold::preempt));
  const Packing packing = pack(tasks, mib_of(usable));
  Outcome bare = run_bare(course, packing, mib_of(usable));
  const Floor floor{.tasks = options.workload.tasks,
                    .leaks = static_cast<int>(std::ranges::count_if(tasks, &PackedTask::leaks)),
                    .budget = options.budget,
                    .usable = usable,
                    .rule = packing.rule,
                    .packed = packing.seconds,
                    .packed_all = pack(tasks, mib_of(options.budget)).seconds,
                    .least = least_possible(tasks, mib_of(usable)),
                    .bare = bare.seconds};
  std::vector<Outcome> outcomes;
  if (options.ours) outcomes = run_all_ours(course, options);
  const bool right = std::ranges::all_of(
      outcomes, [](const Outcome& outcome) { return outcome.killed == 0 && outcome.undone == 0; });
  outcomes.insert(outcomes.begin(), std::move(bare));
  std::vector<Skipped> skipped;
  if (options.peers) run_peers(course, outcomes, skipped);
  const std::string text =
      options.json ? to_text(to_json(floor, outcomes, skipped)) + "\n" : to_table(floor, outcomes, skipped);
  std::fputs(text.c_str(), stdout);
  return right ? 0 : 1;
}

template <typename Value>
Value parsed(Result<Value> value, const std::string& option) {
  if (!value) give_up(option + ": " + value.error().message);
  return *value;
}

int parse_and_run(int argc, char** argv) {
  Options options;
  std::string budget = "1GiB";
  std::string shortest = "500ms";
  std::string longest = "3s";
  std::vector<std::string> task;
  CLI::App app("How well admission by learned footprints packs tasks into a budget");
  app.add_option("--seed", options.workload.seed, "of the tasks");
  app.add_option("--tasks", options.workload.tasks, "how many");
  app.add_option("--leaks", options.workload.leaks, "of them, that grow to their cap");
  app.add_option("--budget", budget, "of the supervisor");
  app.add_option("--least", options.workload.least_mib, "MiB that a task takes")
      ->check(CLI::Range(own_mib, 100000));
  app.add_option("--most", options.workload.most_mib, "MiB that a task takes, and its cap");
  app.add_option("--shortest", shortest, "time of a task");
  app.add_option("--longest", longest, "time of a task");
  app.add_option("--class-step", options.workload.class_step, "from one size class to the next")
      ->check(CLI::Range(1.01, 100.0));
  app.add_option("--lessons", options.lessons, "passes to learn from before the one that is judged")
      ->check(CLI::Range(1, 100));
  app.add_option("--log", options.log_file, "where the supervisor's log goes, at debug");
  app.add_flag("!--no-ours", options.ours, "without kurultaid");
  app.add_flag("!--no-peers", options.peers, "without GNU parallel, which is package `parallel`");
  app.add_flag("--json", options.json, "the figures as JSON");
  app.add_option("--task", task)->expected(5)->group("");
  CLI11_PARSE(app, argc, argv);
  if (!task.empty()) return run_task(task);
  options.budget = parsed(parse_bytes(budget), "--budget");
  options.workload.shortest = parsed(parse_duration(shortest), "--shortest");
  options.workload.longest = parsed(parse_duration(longest), "--longest");
  return compare_all(options);
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  return run_program([&] { return parse_and_run(argc, argv); });
}
