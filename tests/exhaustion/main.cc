// kurultai-exhaustion-trial [--false-alarms SHARE] DIR…: how often the governor says wrongly that time runs
// out, on recordings of real processes (DIR/*.csv). Each is replayed as the one task that grows, beside
// others that hold as much as it ever will or nothing, under budgets from far below what it needs to far
// above, with graces from one second to thirty. A prediction is true when memory comes over the preempt
// threshold within twice the time that it gave. With --false-alarms the exit status says whether no budget,
// neighbour and grace had a larger share of the recordings with a false one.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "governance/governor.h"
#include "tools/kurultai/trace.h"

namespace kurultai {
namespace {

struct Moment {
  TimePoint at;
  Bytes memory;
  Growth growth;
};

struct Recording {
  std::string name;
  std::vector<Moment> moments;
  Bytes peak;
};

/// Shares of what the process needs at most; the kill threshold lies there, less what others hold.
constexpr std::array heights = {0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 3.0};
constexpr std::array others = {0, 1};  // peaks of it, held by somebody else
constexpr std::array graces = {Duration(1000), Duration(5000), Duration(10'000), Duration(30'000)};

enum class Outcome : unsigned char { quiet, come_true, false_alarm, cut_off };

struct Tally {
  int quiet = 0, come_true = 0, false_alarms = 0, cut_off = 0;
  std::vector<double> early;  // seconds that were won over the preempt threshold, where it was reached

  void count(Outcome outcome) {
    constexpr std::array fields = {&Tally::quiet, &Tally::come_true, &Tally::false_alarms, &Tally::cut_off};
    ++(this->*fields[static_cast<std::size_t>(outcome)]);
  }
  void add(const Tally& tally) {
    quiet += tally.quiet;
    come_true += tally.come_true;
    false_alarms += tally.false_alarms;
    cut_off += tally.cut_off;
    early.insert(early.end(), tally.early.begin(), tally.early.end());
  }
};

/// After a prediction at `made`, with nothing done about it.
Outcome judge(const Recording& recording, std::size_t made, Duration left, Bytes line, Tally& tally) {
  const TimePoint from = recording.moments[made].at;
  const auto rest = std::span(recording.moments).subspan(made);
  for (const Moment& moment : rest) {
    if (moment.at > from + 2 * left) return Outcome::false_alarm;
    if (moment.memory < line) continue;
    tally.early.push_back(std::chrono::duration<double>(moment.at - from).count());
    return Outcome::come_true;
  }
  return Outcome::cut_off;  // the recording ends before that can be said
}

Outcome replay(const Recording& recording, double height, int neighbours, Duration grace, Tally& tally) {
  const Thresholds thresholds;
  const Bytes held{recording.peak.count * neighbours};
  const Bytes kill_line = held + share_of(recording.peak, height);
  const Bytes budget = share_of(kill_line, 1 / thresholds.at(Threshold::kill));
  const Bytes preempt_line = share_of(budget, thresholds.at(Threshold::preempt)) - held;
  Governor governor(thresholds);
  std::vector<Candidate> running(1);
  Candidate& task = running.front();
  task = {.task_id = "t", .memory = {}, .most = budget, .grace = grace, .may_leave_early = true};
  for (std::size_t i = 0; i < recording.moments.size(); ++i) {
    const Moment& moment = recording.moments[i];
    if (moment.memory >= preempt_line) return Outcome::quiet;  // the threshold itself acts
    task.memory = moment.memory;
    task.growth = moment.growth;
    Situation situation{
        .used = held + moment.memory, .budget = budget, .running = running, .idle = {}, .ending = {}};
    situation.time_to_act = TimeToAct{}.value();
    for (const Action& action : governor.decide(situation, moment.at)) {
      const auto* seen = std::get_if<Foreseen>(&action);
      if (seen != nullptr) return judge(recording, i, seen->prediction.left, preempt_line, tally);
    }
  }
  return Outcome::quiet;
}

Recording read_recording(const std::filesystem::path& file) {
  Recording recording{.name = file.stem(), .moments = {}, .peak = {}};
  GrowthWatch watch;
  const auto answer = for_each_reading(file, [&](TraceReading reading) {
    if (!(reading.bytes >= 0)) return;  // a missing one
    const TimePoint at{
        std::chrono::round<TimePoint::duration>(std::chrono::duration<double>(reading.seconds))};
    const Bytes memory{static_cast<std::int64_t>(reading.bytes)};
    watch.note(at, memory);
    recording.moments.push_back({at, memory, watch.growth()});
    recording.peak = std::max(recording.peak, memory);
  });
  if (!answer) std::exit(complain("exhaustion-trial", answer.error()));
  return recording;
}

void read_all(const std::string& directory, std::vector<Recording>& recordings) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".csv" && entry.path().stem() != "labels")
      recordings.push_back(read_recording(entry.path()));
  }
}

void show(const std::string& name, const Tally& tally) {
  const int all = tally.quiet + tally.come_true + tally.false_alarms + tally.cut_off;
  std::printf("%-44s %6d replays  %4d true  %4d false (%.2f %%)  %3d cut off\n", name.c_str(), all,
              tally.come_true, tally.false_alarms, 100.0 * tally.false_alarms / std::max(all, 1),
              tally.cut_off);
}

/// The largest share of recordings with a false alarm, over all ways to place the budget.
double worst_share(const std::vector<Recording>& recordings, Tally& all) {
  double worst = 0;
  for (const double height : heights) {
    for (const int neighbours : others) {
      Tally of_budget;
      for (const Duration grace : graces) {
        Tally tally;
        for (const Recording& each : recordings) tally.count(replay(each, height, neighbours, grace, tally));
        worst =
            std::max(worst, static_cast<double>(tally.false_alarms) / static_cast<double>(recordings.size()));
        of_budget.add(tally);
      }
      char name[64];
      std::snprintf(name, sizeof(name), "kill line at %.2f of its peak, others %s", height,
                    neighbours == 0 ? "nothing" : "as much");
      show(name, of_budget);
      all.add(of_budget);
    }
  }
  return worst;
}

int trial(std::span<char*> arguments) {
  double bound = 1;
  std::vector<Recording> recordings;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string word = arguments[i];
    if (word == "--false-alarms" && i + 1 < arguments.size()) {
      bound = std::atof(arguments[++i]);
    } else {
      read_all(word, recordings);
    }
  }
  if (recordings.empty()) {
    std::fprintf(
        stderr,
        "exhaustion-trial: no recordings; as in `kurultai-exhaustion-trial tests/leaks/recordings/*`\n");
    return 2;
  }
  Tally all;
  const double worst = worst_share(recordings, all);
  show("all of them", all);
  std::ranges::sort(all.early);
  std::printf("of %zu recordings at most %.1f %% with a false alarm under one budget and grace\n",
              recordings.size(), worst * 100);
  if (!all.early.empty())
    std::printf("true ones came %.1f s before the preempt threshold, half of them\n",
                all.early[all.early.size() / 2]);
  return worst < bound ? 0 : 1;
}

}  // namespace
}  // namespace kurultai

int main(int argc, char** argv) { return kurultai::trial({argv + 1, static_cast<std::size_t>(argc - 1)}); }
