#include "tools/soak/profile.h"

#include <doctest/doctest.h>

#include "tools/soak/agents.h"

namespace kurultai::profile_test {
using namespace kurultai::soak;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

std::optional<std::string> no_variable(std::string_view) { return std::nullopt; }

ConfigResult<Profile> parse(const std::string& text) { return parse_profile(text, "p.yaml", no_variable); }

/// Of the one mistake that there is.
std::string mistake(const std::string& text) {
  const auto profile = parse(text);
  if (profile) return "none";
  return profile.error().size() == 1 ? to_string(profile.error().front())
                                     : std::to_string(profile.error().size()) + " mistakes";
}

const std::string good =
    "for: 10m\n"
    "every: 30s\n"
    "tasks:\n"
    "  one: {runs: shell, takes: [1s, 2s]}\n";

}  // namespace

TEST_CASE("the profiles that come with it are good") {
  CHECK(profile_names() == std::vector<std::string>{"steady", "peak", "spike", "chaos"});
  for (const std::string& name : profile_names()) {
    const auto profile = parse(std::string(embedded(name + ".yaml")));
    CAPTURE(name);
    REQUIRE(profile);
    CHECK(profile->criteria.lost == 0);
    CHECK(profile->criteria.tree_max);
  }
}

TEST_CASE("they have the figures that were asked for") {
  const auto of = [](const char* name) { return parse(std::string(embedded(name))).value(); };
  CHECK(of("steady.yaml").every == seconds(30));
  CHECK(of("steady.yaml").length == minutes(10));
  CHECK(of("peak.yaml").every == seconds(1));
  CHECK(of("peak.yaml").length == minutes(5));
  CHECK(of("peak.yaml").supervisor.workers.max == 10);
  CHECK(of("spike.yaml").every == milliseconds(100));
  CHECK(of("spike.yaml").length == minutes(1));
  CHECK(of("spike.yaml").supervisor.workers.max == 20);
  CHECK(of("chaos.yaml").length == minutes(60));
  CHECK(of("chaos.yaml").every_so_often(Mischief::kill_supervisor) == Duration(0));
}

TEST_CASE("a profile is read whole") {
  const auto profile = parse(
      "for: 1m\nwarm_up: 10s\nevery: 100ms\narrivals: poisson\n"
      "supervisor: {memory: {budget: 300MiB}, workers: {max: 3, memory_limit: 200MiB, memory_warning: "
      "100MiB}}\n"
      "tasks:\n"
      "  a: {runs: python, weight: 2, memory: [1MiB, 5MiB], takes: 2s, cap: 64MiB, retries: 2, priority: "
      "low}\n"
      "  b: {runs: node, takes: 1s, cap: 128MiB, leaks: true, priority: mixed}\n"
      "chaos: {cancel: 2s}\n"
      "criteria: {tree_max: 300MiB, refused_most: 0.5, recovery: 3s, failed: 2}\n");
  REQUIRE(profile);
  CHECK(profile->arrivals == Arrivals::poisson);
  CHECK(profile->supervisor.memory.budget == mebibytes(300));
  REQUIRE(profile->kinds.size() == 2);
  CHECK(profile->kinds[0].memory.high == mebibytes(5));
  CHECK(profile->kinds[0].takes.low == profile->kinds[0].takes.high);
  CHECK(profile->kinds[0].priority == Priority::low);
  CHECK(profile->kinds[1].leaks);
  CHECK_FALSE(profile->kinds[1].priority);
  CHECK(profile->every_so_often(Mischief::cancel) == seconds(2));
  CHECK(profile->every_so_often(Mischief::reload) == Duration(0));
  CHECK(profile->criteria.refused_most == doctest::Approx(0.5));
  CHECK(profile->criteria.failed == 2);
}

TEST_CASE("mistakes are named with their line") {
  CHECK(mistake(good) == "none");
  CHECK(mistake("for: 10m\nevery: 30s\n") == "p.yaml:1:1: tasks: is missing");
  CHECK(mistake(good + "evry: 1s\n") == "p.yaml:5:1: unknown key 'evry', did you mean 'every'?");
  CHECK(mistake(good + "warm_up: soon\n").starts_with("p.yaml:5:10: warm_up: "));
  CHECK(mistake(good + "arrivals: late\n") == "p.yaml:5:11: arrivals: expected even, poisson");
  CHECK(mistake(good + "supervisor:\n  workers: {max: none}\n").starts_with("p.yaml:6:18: workers.max: "));
  CHECK(mistake(good + "supervisor: {agents: {a: {command: [x]}}}\n") ==
        "p.yaml:5:13: supervisor: agents and schedules are the soak's own");
  CHECK(mistake(good + "criteria: {lost: -1}\n") ==
        "p.yaml:5:18: criteria.lost: expected a number from 0 to 1000000");
  CHECK(mistake(good + "criteria: [lost]\n") == "p.yaml:5:11: criteria: expected settings as `key: value`");
  CHECK(mistake(good + "chaos: {kill_workers: 1s}\n") ==
        "p.yaml:5:9: unknown key 'kill_workers', did you mean 'kill_worker'?");
  CHECK(mistake(good + "  two: {runs: perl, takes: 1s}\n") ==
        "p.yaml:5:15: tasks.'two'.runs: expected python, node, shell");
  CHECK(mistake(good + "  two: {runs: shell}\n") == "p.yaml:5:8: tasks.'two'.takes: is missing");
  CHECK(mistake(good + "  two: {runs: shell, takes: [2s, 1s]}\n") ==
        "p.yaml:5:29: tasks.'two'.takes: the second is less than the first");
  CHECK(mistake(good + "  exec: {runs: shell, takes: 1s}\n").starts_with("p.yaml:5:3: tasks: "));
  CHECK(mistake("for: 0\nevery: 30s\ntasks: {one: {runs: shell, takes: 1s}}\n") ==
        "p.yaml:1:6: for: must be more than nothing");
  CHECK(mistake(good + "  two: {runs: python, takes: 1s, memory: 100MiB, cap: 110MiB}\n")
            .starts_with("p.yaml:5:8: tasks.'two'.cap: it needs up to 132MiB"));
  CHECK(mistake(good + "  two: {runs: shell, takes: 1s, keeps: 1MiB}\n")
            .starts_with("p.yaml:5:8: tasks.'two'.keeps: "));
  CHECK(mistake("for: [\n").starts_with("p.yaml:"));
}

TEST_CASE("compressing shortens what the profile decides, and nothing else") {
  auto profile = parse(good + "chaos: {cancel: 60s}\ncriteria: {answer_p99: 1s}\n").value();
  compress(profile, 30);
  CHECK(profile.length == seconds(20));
  CHECK(profile.every == seconds(1));
  CHECK(profile.kinds[0].takes.high == milliseconds(66));
  CHECK(profile.every_so_often(Mischief::cancel) == seconds(2));
  CHECK(profile.every_so_often(Mischief::reload) == Duration(0));
  CHECK(profile.criteria.answer_p99 == seconds(1));
  compress(profile, 1e9);
  CHECK(profile.every == milliseconds(1));  // never nothing
}

TEST_CASE("the same seed draws the same tasks") {
  const auto profile = parse(std::string(embedded("chaos.yaml"))).value();
  bench::Dice one(5);
  bench::Dice other(5);
  for (int i = 0; i < 100; ++i) {
    const std::string key = std::to_string(i);
    const Submission a = draw(draw_kind(profile.kinds, one), key, {}, one);
    const Submission b = draw(draw_kind(profile.kinds, other), key, {}, other);
    CHECK(to_body(a) == to_body(b));
    CHECK(a.takes >= a.kind->takes.low);
    CHECK(a.takes <= a.kind->takes.high);
    if (a.kind->leaks) CHECK(a.memory > a.kind->cap);
    if (!a.kind->leaks) CHECK(a.memory + own_memory(a.kind->runs) <= a.kind->cap);
  }
}

}  // namespace kurultai::profile_test
