#include <doctest/doctest.h>

#include "config/load.h"
#include "tests/config/configs.h"

namespace kurultai::schedules_test {
namespace {

using namespace testing;
using namespace std::chrono_literals;

std::string with_agent(const std::string& schedules) {
  return "agents: {a: {command: [x]}, b: {command: [x]}}\nschedules:\n" + schedules;
}

TEST_CASE("schedules are read") {
  const Config config = config_of(with_agent(
      "  - {agent: a, every: 30s, priority: heartbeat, jitter: 5s, overlap: replace, timeout: 1m}\n"
      "  - agent: b\n    name: nightly\n    cron: 30 4 * * 1-5\n"
      "    payload: {to: 100, deep: [1.5, true, null, 'true', 0x10, word], none: ~}\n"));
  REQUIRE(config.schedules.size() == 2);
  const ScheduleConfig& often = config.schedules[0];
  CHECK(often.name == "a");
  CHECK((often.every == 30s && often.jitter == 5s && often.timeout == 1min));
  CHECK((often.priority == Priority::heartbeat && often.overlap == Overlap::replace));
  CHECK(often.payload == "null");
  const ScheduleConfig& nightly = config.schedules[1];
  CHECK((nightly.name == "nightly" && nightly.cron == "30 4 * * 1-5" && nightly.every == 0s));
  CHECK(nightly.payload == R"({"to":100,"deep":[1.5,true,null,"true","0x10","word"],"none":null})");
}

TEST_CASE("what is wrong with a schedule is said where it stands") {
  const struct {
    const char* schedules;
    const char* error;
  } table[] = {
      {"  - {every: 30s}\n", "f:3:5: schedules.0: agent is missing"},
      {"  - {agent: c, every: 30s}\n", "f:3:13: schedules.0.agent: there is no agent 'c'"},
      {"  - {agent: a}\n", "f:3:5: schedules.0: one of every and cron says when, as in `every: 30s`"},
      {"  - {agent: a, every: 1s, cron: '@daily'}\n",
       "f:3:5: schedules.0: one of every and cron says when, as in `every: 30s`"},
      {"  - {agent: a, every: 1s, jitter: 1s}\n",
       "f:3:35: schedules.0.jitter: must be shorter than every, 1s"},
      {"  - {agent: a, every: 1s}\n  - {agent: a, every: 2s}\n",
       "f:4:5: schedules.1: there is a schedule 'a' already; give one of them a `name`"},
      {"  - {agent: a, cron: '61 * * * *'}\n", "f:3:22: schedules.0.cron: minute '61': expected 0 to 59"},
      {"  - {agent: a, evry: 1s}\n", "f:3:16: unknown key 'evry', did you mean 'every'?"},
      {"  - {agent: a, every: 1s, name: 'x y'}\n",
       "f:3:33: schedules.0.name: 'x y' is no name: 1 to 64 letters, digits, _, . and -"},
      {"  - {agent: a, every: 1s, overlap: pile}\n",
       "f:3:36: schedules.0.overlap: expected skip, queue or replace, found 'pile'"},
      {"  a: {every: 1s}\n", "f:3:3: schedules: expected a list, as in `- {agent: a, every: 30s}`"},
      {"  - 5\n", "f:3:5: schedules.0: expected settings as `key: value`"},
  };
  for (const auto& row : table) {
    CAPTURE(row.schedules);
    CHECK(error_of(with_agent(row.schedules)) == row.error);
  }
}

TEST_CASE("there are at most a thousand schedules") {
  std::string most;
  for (int i = 0; i < 1000; ++i) most += "  - {agent: a, every: 1s, name: n" + std::to_string(i) + "}\n";
  CHECK(config_of(with_agent(most)).schedules.size() == 1000);
  CHECK(error_of(with_agent(most + "  - {agent: a, every: 1s}\n")) ==
        "f:3:3: schedules: more than 1000 of them");
}

TEST_CASE("the environment gives all schedules or none, and what is shown can be read again") {
  const Config config = config_of(with_agent("  - {agent: a, every: 30s}\n"),
                                  {{"KURULTAI_SCHEDULES", "[{agent: b, cron: '@daily', payload: [1]}]"}});
  REQUIRE(config.schedules.size() == 1);
  CHECK(config.schedules[0].agent == "b");
  CHECK(error_of(with_agent("  - {agent: a, every: 30s}\n"), {{"KURULTAI_SCHEDULES", "[{agent: b}]"}}) ==
        "KURULTAI_SCHEDULES:1:2: schedules.0: one of every and cron says when, as in `every: 30s`");
  const Config again = config_of(config_to_yaml(config));
  CHECK(config_to_yaml(again) == config_to_yaml(config));
  CHECK(compare(config, again).live.empty());
  const auto change = compare(config, config_of(with_agent("  - {agent: a, every: 30s}\n")));
  CHECK(change.live == std::vector<std::string>{"schedules"});
}

}  // namespace
}  // namespace kurultai::schedules_test
