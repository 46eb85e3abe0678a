#include "tools/kurultai/completion.h"

#include <doctest/doctest.h>

namespace kurultai::completion_test {

TEST_CASE("each shell's script names every command, and quotes what descriptions hold") {
  const std::vector<CommandWords> commands = {{"ps", "the supervisor's tasks", {"--all", "--json"}},
                                              {"config", "c", {"check"}}};
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const auto script = completion_script(shell, commands);
    REQUIRE(script);
    CHECK(script->find("config") != std::string::npos);
    CHECK(script->find("json") != std::string::npos);
    CHECK(script->find("supervisor's") == std::string::npos);
  }
  CHECK_FALSE(completion_script("tcsh", commands));
}

}  // namespace kurultai::completion_test
