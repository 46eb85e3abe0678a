// kurultai-trials: shows that memory is taken from the right task. Rounds of tasks with mixed priorities that
// all hold memory, and one that grows at full speed beyond what is left; who had to give way is judged from
// outside. Exit status 1 when a round was not right. `--log FILE` keeps the supervisor's own account.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "protocol/json_text.h"
#include "tools/bench/trials/agent.h"
#include "tools/bench/trials/plan.h"
#include "tools/bench/trials/session.h"
#include "tools/bench/trials/table.h"
#include "tools/kurultai/interrupts.h"

namespace {

using namespace kurultai;
using namespace kurultai::bench;

struct Options {
  int rounds = 100;
  int growths = 15;
  std::uint64_t seed = 1;
  SessionOptions session;
  bool json = false;
};

std::string parts_of(const Round& round) {
  std::string text;
  for (const Subject& subject : round.subjects) {
    text += (text.empty() ? "" : ", ") + std::string(to_string(subject.priority)) + " " +
            std::to_string(subject.mib) + " MiB" + (subject.grows ? " grows" : "");
    for (const Turn& turn : subject.turns) {
      if (!turn.why.empty()) text += " [" + turn.why + " g" + std::to_string(turn.decision) + "]";
    }
  }
  return text;
}

void tell_of_faults(const Round& round, std::uint64_t seed) {
  std::fprintf(stderr, "wrong round, seed %llu: %s\n", static_cast<unsigned long long>(seed),
               parts_of(round).c_str());
  for (const std::string& fault : round.faults) std::fprintf(stderr, "  %s\n", fault.c_str());
}

Growth measure_growth(Session& session, int mib, int growths) {
  Growth growth;
  growth.mib = mib;
  session.grow_alone(mib);  // its worker is warm, as the rounds' are
  for (int i = 0; i < growths; ++i) {
    const Child bare = start_piped({own_path(), "--grow", std::to_string(mib)});
    const auto floor = parse_json(read_line(bare)).value_or(nlohmann::json::object());
    finish(bare);
    const auto ours = session.grow_alone(mib);
    growth.floor.push_back(floor.value("seconds", 0.0));
    growth.floor_waits_ms.push_back(floor.value("longestWaitMs", 0.0));
    growth.ours.push_back(ours.value("seconds", 0.0));
    growth.waits_ms.push_back(ours.value("longestWaitMs", 0.0));
  }
  return growth;
}

int try_all(const Options& options) {
  const Interrupts interrupts;
  const Bytes room = share_of(options.session.budget, 0.65);
  auto session = std::make_unique<Session>(options.session);
  const Growth growth =
      measure_growth(*session, static_cast<int>(std::min(room, mebibytes(500)).count >> 20), options.growths);
  Sum sum;
  GroupCounts counts;
  for (std::uint64_t seed = options.seed; sum.right + sum.wrong < options.rounds; ++seed) {
    const Round round = session->run(make_plan(seed, options.session.tasks, options.session.budget));
    sum.add(round);
    if (!round.faults.empty()) tell_of_faults(round, seed);
    if (seed - options.seed > 10UL * static_cast<std::uint64_t>(options.rounds) + 100)
      give_up("hardly any round counts");
    counts = session->counts();
    if (round.stuck) session.reset();
    if (session == nullptr) session = std::make_unique<Session>(options.session);
  }
  const std::string text =
      options.json ? to_text(to_json(sum, counts, growth)) + "\n" : to_table(sum, counts, growth);
  std::fputs(text.c_str(), stdout);
  return sum.wrong == 0 ? 0 : 1;
}

int parse_and_run(int argc, char** argv) {
  Options options;
  std::string budget = "768MiB";
  bool agent = false;
  int control = 0;
  int grow = 0;
  CLI::App app("Trials of strict priority under memory pressure");
  app.add_option("--rounds", options.rounds, "how many rounds have to count");
  app.add_option("--growths", options.growths, "of one task alone, for its speed beside the bare one")
      ->check(CLI::Range(1, 1000));
  app.add_option("--seed", options.seed, "of the first round; each has the next");
  app.add_option("--tasks", options.session.tasks, "that hold memory in a round");
  app.add_option("--budget", budget, "of the supervisor");
  app.add_option("--pause", options.session.pause_ms, "of a bystander between its turns, in milliseconds")
      ->check(CLI::Range(1, 1000));
  app.add_option("--log", options.session.log_file, "where the supervisor's log goes, at debug");
  app.add_flag(
      "!--any-pause", options.session.judges_pauses,
      "judge who gives way and, on cgroup v2, who waited for memory, not how long bystanders paused");
  app.add_flag("--json", options.json, "the figures as JSON");
  app.add_flag("--agent", agent)->group("");
  app.add_option("--control", control)->group("");
  app.add_option("--grow", grow)->group("");
  CLI11_PARSE(app, argc, argv);
  if (agent) return serve_as_agent();
  if (control > 0) return serve_as_control(control, options.session.pause_ms);
  if (grow > 0) return grow_bare(grow);
  const auto size = parse_bytes(budget);
  if (!size) give_up("--budget: " + size.error().message);
  options.session.budget = *size;
  return try_all(options);
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  return run_program([&] { return parse_and_run(argc, argv); });
}
