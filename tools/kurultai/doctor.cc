// What this machine can guarantee: kurultaid finds it out, as the one that would have to keep it. Needs none
// that runs.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/kurultai/commands.h"
#include "tools/kurultai/run/private_supervisor.h"

namespace kurultai {
namespace {

struct DoctorOptions {
  std::string config;     // empty: the one kurultaid would use
  std::string state_dir;  // empty: kurultaid's own
  std::string require;    // empty: nothing
  bool json = false;
};

/// Becomes `kurultaid --doctor`; returns only when that cannot be started.
Answer<ExitStatus> doctor(const DoctorOptions& options) {
  const std::string program = find_kurultaid();
  std::vector<std::string> words = {program, "--doctor"};
  if (!options.config.empty()) words.insert(words.end(), {"--config", options.config});
  if (!options.state_dir.empty()) words.insert(words.end(), {"--state-dir", options.state_dir});
  if (!options.require.empty()) words.insert(words.end(), {"--require", options.require});
  if (options.json) words.emplace_back("--json");
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(program.c_str(), argv.data());
  return complaint(ExitStatus::no_supervisor, "start " + program + ": " + std::strerror(errno));
}

}  // namespace

void add_doctor(Commands& commands) {
  auto& options = commands.keep<DoctorOptions>();
  Command command =
      commands.add("doctor", "what this machine can guarantee, and what to change; needs no supervisor",
                   "kurultai doctor --config config/memory.yaml --require cgroup2\n\n"
                   "Exit status: 1 when something will not work as configured.");
  command.option("--config", options.config, "FILE", "the one kurultaid would use, when absent");
  command.option("--state-dir", options.state_dir, "DIR", "where kurultaid would keep its state");
  command.option("--require", options.require, "LEVEL",
                 "status 1 where less is guaranteed: cgroup2, cgroup1 or rlimit");
  command.json_flag(options.json, "for programs");
  command.does("doctor", [&options] { return doctor(options); });
}

}  // namespace kurultai
