// kurultai-soak: runs a kurultaid of its own under a load profile and says whether it held. Exit status 1
// when a criterion of the profile failed, 2 for wrong usage.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "config/load.h"
#include "protocol/json_text.h"
#include "tools/bench/child.h"
#include "tools/soak/agents.h"
#include "tools/soak/session.h"

namespace {

using namespace kurultai;
using namespace kurultai::soak;

constexpr int usage = 2;

struct Options {
  std::string profile;
  std::string config;
  std::string length;
  std::string budget;
  std::string kill_supervisor;
  std::string json_file;
  std::string chart_file;
  bool prints = false;
  SessionOptions session;
};

/// A mistake of who called us, already told.
struct Usage {};

[[noreturn]] void refuse(const std::vector<std::string>& lines) {
  for (const std::string& text : lines) std::fprintf(stderr, "kurultai-soak: %s\n", text.c_str());
  throw Usage{};
}

[[noreturn]] void refuse(const std::vector<ConfigError>& errors) {
  std::vector<std::string> lines;
  lines.reserve(errors.size());
  for (const ConfigError& error : errors) lines.push_back(to_string(error));
  refuse(lines);
}

template <typename T>
T checked(Result<T> value, const std::string& option) {
  if (!value) refuse({option + ": " + value.error().message});
  return *std::move(value);
}

/// Of one of ours, or of a file.
std::string profile_text(const std::string& name) {
  if (const std::string_view own = embedded(name + ".yaml"); !own.empty()) return std::string(own);
  std::ifstream file(name);
  std::ostringstream text;
  if (!(text << file.rdbuf())) {
    std::string known;
    for (const std::string& one : profile_names()) known += " " + one;
    refuse({name + ": neither a profile (" + known.substr(1) + ") nor a file that can be read"});
  }
  return std::move(text).str();
}

bool is_installed(const std::string& program) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    folder.append("/").append(program);
    if (::access(folder.c_str(), X_OK) == 0) return true;
  }
  return false;
}

/// Tasks whose interpreter is not here are done without, and that is said.
void leave_out_missing(Profile& profile, Runs runs, const std::string& program) {
  const auto uses = [runs](const TaskKind& kind) { return kind.runs == runs; };
  if (std::ranges::none_of(profile.kinds, uses) || is_installed(program)) return;
  std::fprintf(stderr, "kurultai-soak: %s is not installed: its tasks are left out\n", program.c_str());
  std::erase_if(profile.kinds, uses);
  if (profile.kinds.empty()) refuse({profile.name + ": no task is left"});
}

Profile profile_of(const Options& options) {
  const bool is_own = !embedded(options.profile + ".yaml").empty();
  const std::string file = is_own ? options.profile + ".yaml" : options.profile;
  auto profile = parse_profile(profile_text(options.profile), file, process_environment());
  if (!profile) refuse(profile.error());
  profile->name = options.profile;
  if (!options.config.empty()) {
    auto config = load_config(options.config, process_environment());
    if (!config) refuse(config.error());
    profile->supervisor = *std::move(config);
  }
  if (!options.budget.empty())
    profile->supervisor.memory.budget = checked(parse_bytes(options.budget), "--budget");
  if (!options.length.empty()) profile->length = checked(parse_duration(options.length), "--for");
  profile->warm_up = std::min(profile->warm_up, profile->length / 4);
  if (!options.kill_supervisor.empty())
    profile->every_so_often(Mischief::kill_supervisor) =
        checked(parse_duration(options.kill_supervisor), "--kill-supervisor");
  if (profile->length <= Duration(0)) refuse({"--for: must be more than nothing"});
  leave_out_missing(*profile, Runs::python, "python3");
  leave_out_missing(*profile, Runs::node, "node");
  compress(*profile, options.session.scale);
  return *std::move(profile);
}

void write_file(const std::string& file, const std::string& text) {
  std::ofstream out(file);
  out << text;
  out.close();
  if (!out) bench::give_up("write " + file + " failed");
}

/// Before the hours of a run, not after them.
void try_file(const std::string& option, const std::string& file) {
  if (!file.empty() && !std::ofstream(file, std::ios::app))
    refuse({option + ": " + file + " cannot be written"});
}

int soak(const Options& options) {
  try_file("--json", options.json_file);
  try_file("--chart", options.chart_file);
  const Profile profile = profile_of(options);
  const Outcome outcome = Session(profile, options.session).run();
  const auto criteria = judge(outcome, profile.criteria);
  std::fputs(to_table(outcome, criteria).c_str(), stdout);
  if (!options.json_file.empty()) write_file(options.json_file, to_text(to_json(outcome, criteria)) + "\n");
  if (!options.chart_file.empty()) write_file(options.chart_file, to_svg(outcome));
  return has_passed(criteria) ? 0 : 1;
}

int parse_and_run(int argc, char** argv) {
  Options options;
  CLI::App app("Runs a kurultaid of its own under a load profile and says whether it held");
  app.add_option("profile", options.profile, "steady, peak, spike, chaos, or a file")->required();
  app.add_option("--for", options.length, "how long the load goes on, as the profile counts time");
  app.add_option("--scale", options.session.scale, "all times of the profile divided by this")
      ->check(CLI::Range(0.01, 10000.0));
  app.add_option("--seed", options.session.seed, "of everything that is left to chance");
  app.add_option("--budget", options.budget, "of the supervisor, in place of the profile's");
  app.add_option("--config", options.config,
                 "a memory.yaml in place of the profile's `supervisor`; agents are the soak's");
  app.add_option("--kill-supervisor", options.kill_supervisor,
                 "SIGKILL for the supervisor itself, so often on average");
  app.add_option("--json", options.json_file, "a report for programs");
  app.add_option("--chart", options.chart_file, "memory over time, as SVG");
  app.add_option("--log", options.session.log_file, "the supervisor's log, at debug");
  app.add_flag("--print", options.prints, "prints the profile and ends");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    refuse({error.what()});
  }
  if (!options.prints) return soak(options);
  std::fputs(profile_text(options.profile).c_str(), stdout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  return bench::run_program([&] {
    try {
      return parse_and_run(argc, argv);
    } catch (const Usage&) {
      return usage;
    }
  });
}
