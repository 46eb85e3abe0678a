#include "tests/config/configs.h"

namespace kurultai::check_test {
using namespace kurultai::testing;

TEST_CASE("thresholds ascend") {
  CHECK(error_of("memory: {thresholds: {preempt: 0.7}}") ==
        "f:1:32: memory.thresholds.preempt: 0.7 must be above memory.thresholds.skip_heartbeats, 0.7");
  CHECK(error_of("memory: {thresholds: {preempt: 0.95, reject: 0.9, kill: 1}}") ==
        "f:1:46: memory.thresholds.reject: 0.9 must be above memory.thresholds.preempt, 0.95");
  CHECK(error_of("memory: {thresholds: {reject: 0.95}}") ==
        "f:1:31: memory.thresholds.kill: 0.95 must be above memory.thresholds.reject, 0.95");
  CHECK(errors_of("memory: {thresholds: {skip_heartbeats: 0.9, preempt: 0.8, reject: 0.7, kill: 0.6}}")
            .size() == 3);
  CHECK(errors_of("memory: {thresholds: {preempt: x, reject: 0.8}}").size() ==
        1);  // not compared with a default
}

TEST_CASE("hysteresis is below the lowest threshold") {
  CHECK(error_of("memory: {hysteresis: 0.7}")
            .starts_with("f:1:22: memory.hysteresis: 0.7 must be below the lowest threshold, 0.7"));
  CHECK(error_of("memory: {thresholds: {skip_heartbeats: 0.05}}")
            .starts_with("f:1:40: memory.hysteresis: 0.1"));
  CHECK(errors_of("memory: {hysteresis: 0.69}").empty());
}

TEST_CASE("no cap is larger than the budget") {
  CHECK(error_of("memory:\n  budget: 256MiB\n") ==
        "f:2:11: workers.memory_limit: 512MiB is more than memory.budget, 256MiB");
  CHECK(error_of("workers: {memory_limit: 2GiB}") ==
        "f:1:25: workers.memory_limit: 2GiB is more than memory.budget, 1GiB");
  CHECK(error_of("agents: {a: {command: [x], memory_limit: 2GiB}}") ==
        "f:1:42: agents.a.memory_limit: 2GiB is more than memory.budget, 1GiB");
  CHECK(error_of("", {{"KURULTAI_MEMORY_BUDGET", "100MiB"}}) ==
        "KURULTAI_MEMORY_BUDGET: workers.memory_limit: 512MiB is more than memory.budget, 100MiB");
  CHECK(errors_of("memory: {budget: 512MiB}").empty());
  CHECK(errors_of("memory: {budget: auto}\nworkers: {memory_limit: 100GiB}").empty());
  CHECK(errors_of("memory: {budget: 64MiBB}\n").size() == 1);
}

TEST_CASE("a warning above the limit is refused when it was written and lowered when it was not") {
  CHECK(error_of("workers: {memory_limit: 100MiB, memory_warning: 200MiB}") ==
        "f:1:49: workers.memory_warning: 200MiB is above the limit, 100MiB");
  CHECK(error_of("agents: {a: {command: [x], memory_limit: 100MiB, memory_warning: 200MiB}}") ==
        "f:1:66: agents.a.memory_warning: 200MiB is above the limit, 100MiB");
  CHECK(error_of("agents: {a: {command: [x], memory_warning: 600MiB}}") ==
        "f:1:44: agents.a.memory_warning: 600MiB is above the limit, 512MiB");
  CHECK(errors_of("workers: {memory_limit: x, memory_warning: 900MiB}").size() == 1);

  CHECK(config_of("workers: {memory_limit: 100MiB}").workers.memory_warning == mebibytes(100));
  const Config config = config_of("agents: {a: {command: [x], memory_limit: 100MiB}, b: {command: [x]}}");
  CHECK(memory_limit_of(config.agents.at("a"), config) == mebibytes(100));
  CHECK(memory_warning_of(config.agents.at("a"), config) == mebibytes(100));
  CHECK(memory_limit_of(config.agents.at("b"), config) == mebibytes(512));
  CHECK(memory_warning_of(config.agents.at("b"), config) == mebibytes(300));
}

TEST_CASE("limits of levels above the depth are lowered to it") {
  const Config config = config_of("queue: {max_depth: 3, limits: {critical: 100}}");
  CHECK(config.queue.per_level == std::array<std::size_t, 5>{3, 3, 3, 3, 2});
}

TEST_CASE("doing without a token is for loopback addresses") {
  CHECK(error_of("gateway: {auth: none, listen: 0.0.0.0:80}") ==
        "f:1:17: gateway.auth: none is for loopback addresses only, and gateway.listen is 0.0.0.0:80");
  CHECK(errors_of("gateway: {auth: none, listen: example:80}").size() == 1);
  CHECK(errors_of("gateway: {auth: none, listen: bad}").size() == 1);
  for (const std::string listen : {"127.0.0.1:1", "\"[::1]:1\"", "localhost:1", "none"}) {
    CAPTURE(listen);
    CHECK(errors_of("gateway: {auth: none, listen: " + listen + "}").empty());
  }
  CHECK(errors_of("gateway: {listen: 0.0.0.0:80}").empty());
}

TEST_CASE("exec agents run one task at a time") {
  CHECK(error_of("agents: {a: {protocol: exec, command: [x], concurrency: 2}}") ==
        "f:1:57: agents.a.concurrency: an exec agent runs one task at a time; leave it out or write 1");
  CHECK(errors_of("agents: {a: {command: [x], concurrency: 8}}").empty());
  CHECK(errors_of("agents: {a: {protocol: mcp, command: [x], concurrency: 8}}").empty());
}

TEST_CASE("an mcp agent has one worker and others any number, unless the configuration says how many") {
  const Config config = config_of(
      "agents: {a: {protocol: mcp, command: [x, '{']}, b: {command: [x]}, c: {protocol: mcp, command: [x], "
      "max_workers: 3}, d: {command: [x], max_workers: 2}}");
  CHECK(most_workers(config.agents.at("a")) == 1);
  CHECK(most_workers(config.agents.at("b")) == 0);
  CHECK(most_workers(config.agents.at("c")) == 3);
  CHECK(most_workers(config.agents.at("d")) == 2);
}

TEST_CASE("fields in commands are checked in exec agents, and are plain text in others") {
  CHECK(error_of("agents: {a: {protocol: exec, command: [sh, -c, \"awk {print}x}\"]}}") ==
        "f:1:48: agents.a.command: '}' without a '{' before it; write }} for a brace");
  CHECK(error_of("agents: {a: {command: [\"{program}\", y], protocol: exec}}")
            .starts_with("f:1:24: agents.a.command: the program itself cannot come from the payload"));
  CHECK(errors_of("agents: {a: {protocol: exec, command: [sh, -c, \"awk {{print}} {file}\"]}}").empty());
  CHECK(errors_of("agents: {a: {protocol: jsonl, command: [sh, -c, \"{ awk\"]}}").empty());
}

TEST_CASE(
    "what a working place sets is not set by env too, and a sandbox keeps something from being written") {
  const auto error = [](const std::string& lines) {
    return error_of("agents:\n  a: {command: [x], " + lines + "}\n");
  };
  CHECK(error("home: private, env: {HOME: /h}") ==
        "f:2:27: agents.a.home: env sets HOME already; leave one of them out");
  CHECK(error("home: /h, env: {HOME: {file: /f}}").find("HOME already") != std::string::npos);
  CHECK(error("tmp: private, env: {TMPDIR: /h}") ==
        "f:2:26: agents.a.tmp: env sets TMPDIR already; leave one of them out");
  CHECK(error("sandbox: bubblewrap, cwd: //") ==
        "f:2:47: agents.a.cwd: a sandbox may write to its cwd, and this one is everything");
  CHECK(
      errors_of(
          "agents: {a: {command: [x], sandbox: bubblewrap, cwd: /srv, home: private, tmp: private, env: {A: "
          "b}}}")
          .empty());
  CHECK(errors_of("agents: {a: {command: [x], cwd: /, env: {HOME: /h, TMPDIR: /t}}}").empty());
}

}  // namespace kurultai::check_test
