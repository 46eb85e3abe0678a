#include "tools/kurultai/command_line.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace kurultai::command_line_test {
namespace {

using Strings = std::vector<std::string>;

/// One command, `go`, with an option of each type and another program's words behind them.
struct Line {
  std::string name;
  int jobs = 0;
  std::optional<Bytes> size;
  Duration wait{};
  bool loud = false;
  Strings command;
  bool has_run = false;

  int run(Strings words) {
    Commands commands("1.0");
    Command go = commands.add("go", "goes", "kurultai go");
    go.option("-n,--name", name, "NAME", "a name");
    go.option("--jobs", jobs, {1, 10}, "how many");
    go.option("--size", size, "how much");
    go.option("--wait", wait, "how long");
    go.flag("--loud", loud, "says so");
    go.takes_command(command, "-- CMD", 77);
    go.runs([this] {
      has_run = true;
      return 3;
    });
    Command other = commands.add("other", "does something else", "kurultai other");
    other.option("--name", name, "NAME", "a name");
    other.require("--name");
    other.runs([] { return 4; });
    return commands.run(std::move(words));
  }
};

TEST_CASE("options are read, and what the command returns is the exit status") {
  Line line;
  CHECK(line.run({"go", "--jobs", "4", "-n", "x", "--size", "2KiB", "--wait=5s", "--loud"}) == 3);
  CHECK(line.has_run);
  CHECK(line.jobs == 4);
  CHECK(line.name == "x");
  CHECK(line.size == kibibytes(2));
  CHECK(line.wait == Duration(5000));
  CHECK(line.loud);
}

TEST_CASE("what stands behind the options is another program's, whatever it looks like") {
  const struct {
    Strings words;
    Strings command;
  } table[] = {
      {{"go", "--", "ls", "--loud", "-n"}, {"ls", "--loud", "-n"}},
      {{"go", "-n", "ls", "ls", "{}", "--", "other"}, {"ls", "{}", "--", "other"}},
      {{"--socket", "go", "go", "other", "--name"}, {"other", "--name"}},
      {{"go", "--name=a", "--", "--", "b"}, {"--", "b"}},
      {{"go"}, {}},
  };
  for (const auto& row : table) {
    Line line;
    CAPTURE(row.words);
    CHECK(line.run(row.words) == 3);
    CHECK(line.command == row.command);
    CHECK_FALSE(line.loud);
  }
}

TEST_CASE("a mistake runs nothing, and ends with the command's own status for it") {
  const struct {
    Strings words;
    int status;
  } table[] = {
      {{}, 2},
      {{"og"}, 2},
      {{"other"}, 2},
      {{"other", "--name", "x", "surplus"}, 2},
      {{"go", "--jobs", "0"}, 77},
      {{"go", "--jobs", "11"}, 77},
      {{"go", "--size", "much"}, 77},
      {{"go", "--wait", "0s"}, 77},
      {{"go", "--unknown", "--", "ls"}, 77},
  };
  for (const auto& row : table) {
    Line line;
    CAPTURE(row.words);
    CHECK(line.run(row.words) == row.status);
    CHECK_FALSE(line.has_run);
  }
}

TEST_CASE("completion knows the commands, their options and their choices") {
  Commands commands("1.0");
  std::string shell;
  bool loud = false;
  Command go = commands.add("go", "goes", "kurultai go");
  go.flag("-l,--loud", loud, "says so");
  go.choice("shell", shell, {"bash", "zsh"}, "one of them");
  go.add("there", "goes there", "kurultai go there");
  const auto words = commands.completion_words();
  REQUIRE(words.size() == 1);
  CHECK(words[0].name == "go");
  CHECK(words[0].words == Strings{"there", "--help", "--loud", "bash", "zsh"});
}

}  // namespace
}  // namespace kurultai::command_line_test
