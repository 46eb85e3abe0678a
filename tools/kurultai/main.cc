// The client: wires the commands to the command line.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "protocol/version.h"
#include "tools/kurultai/commands.h"

namespace kurultai {
namespace {

/// A stream that our caller has closed would be the first pipe we open, and be printed into. What stands in
/// its place fails as it would.
void fill_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

/// In the order of the help.
void add_all(Commands& commands) {
  add_run(commands);
  add_submitting(commands);
  add_listing(commands);
  add_agents(commands);
  add_state(commands);
  add_why(commands);
  add_task_commands(commands);
  add_administration(commands);
  add_doctor(commands);
  add_drill(commands);
  add_top(commands);
  add_events(commands);
  add_record(commands);
  add_replay(commands);
  add_mcp(commands);
  add_config(commands);
  add_completion(commands);
}

}  // namespace
}  // namespace kurultai

int main(int argc, char** argv) try {
  kurultai::fill_standard_streams();
  kurultai::Commands commands{std::string(kurultai::project_version)};
  kurultai::add_all(commands);
  return commands.run({argv + 1, argv + argc});
} catch (const std::exception& error) {
  std::fprintf(stderr, "kurultai: %s\n", error.what());
  return kurultai::to_int(kurultai::ExitStatus::usage);
}
