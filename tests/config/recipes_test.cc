// The recipes for coding agents, on what the real programs printed (tests/recipes/recorded): once a tool call
// and an answer, once a model that refused.
#include <fstream>

#include "protocol/agent_answer.h"
#include "tests/config/configs.h"

namespace kurultai::recipes_test {
using namespace kurultai::testing;

namespace {

const std::string source = KURULTAI_SOURCE_DIR;

struct Heard {
  std::vector<std::string> progress;
  int log = 0;
  std::string end;  // `result: …`, `error: …`
};

Heard heard(const std::string& recipe, const std::string& agent, const std::string& recording) {
  const auto config = load_config(source + "/config/recipes/" + recipe + ".yaml", environment_of({}));
  REQUIRE(config.has_value());
  AgentAnswer answer(config->agents.at(agent).output.rules, mebibytes(1));
  std::ifstream file(source + "/tests/recipes/recorded/" + recipe + "-" + recording + ".jsonl");
  REQUIRE(file.is_open());
  Heard all;
  for (std::string line; std::getline(file, line);) {
    const auto taken = answer.take(line);
    if (!taken.progress.empty()) all.progress.push_back(taken.progress);
    all.log += taken.is_log ? 1 : 0;
  }
  if (const auto& last = answer.last())
    all.end = (last->says == OutputRule::Says::result ? "result: " : "error: ") + last->text;
  return all;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("Claude Code is understood") {
  const Heard answer = heard("claude-code", "claude", "answer");
  CHECK(answer.progress == Lines{"Bash cat note.txt", "it printed: the number is 4711"});
  CHECK(answer.log == 2);  // what it is, and what the tool gave
  CHECK(answer.end == "result: it printed: the number is 4711");
  CHECK(heard("claude-code", "claude", "error").end == "error: Credit balance is too low");
}

TEST_CASE("Codex is understood") {
  const Heard answer = heard("codex", "codex", "answer");
  CHECK(answer.progress ==
        Lines{"Model metadata for `gpt-5` not found. Defaulting to fallback metadata; this can "
              "degrade performance and cause issues.",
              "/bin/bash -lc 'cat note.txt'"});
  CHECK(answer.end.starts_with("result: it printed: Chunk ID:"));
  CHECK(answer.end.ends_with("the number is 4711\n"));
  const Heard error = heard("codex", "codex", "error");
  CHECK(error.end.starts_with("error: unexpected status 401 Unauthorized: Incorrect API key provided"));
}

TEST_CASE("Gemini CLI is understood") {
  const Heard answer = heard("gemini-cli", "gemini", "answer");
  CHECK(answer.progress == Lines{"run_shell_command cat note.txt"});
  CHECK(answer.end.starts_with("result: it printed: <untrusted_context>\nOutput: the number is 4711\n"));
  CHECK(heard("gemini-cli", "gemini", "error").end.find("API key not valid") != std::string::npos);
}

TEST_CASE("opencode is understood") {
  const Heard answer = heard("opencode", "opencode", "answer");
  CHECK(answer.progress == Lines{"bash cat note.txt"});
  CHECK(answer.end == "result: it printed: the number is 4711\n");
  CHECK(heard("opencode", "opencode", "error").end == "error: Incorrect API key provided");
}

}  // namespace kurultai::recipes_test
