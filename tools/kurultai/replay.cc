// `replay`: what recorded traces tell: whether a process leaked, or (replay_life.cc) what policies would have
// done.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "governance/leak_verdict.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/replay_options.h"
#include "tools/kurultai/text.h"
#include "tools/kurultai/trace.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr double megabyte = 1e6;
// A prediction further ahead than this is no prediction.
constexpr double longest_prediction = 10.0 * 365 * 24 * 3600;

double rounded(double value, double parts) { return std::round(value * parts) / parts; }

json verdict_json(const std::string& file, const Trace& trace, const LeakVerdict& verdict) {
  json out = {{"file", file},
              {"verdict", to_string(verdict.level)},
              {"shape", to_string(verdict.shape)},
              {"confidence", rounded(verdict.confidence, 1000)},
              {"growthBytesPerHour", static_cast<std::int64_t>(std::llround(verdict.growth_per_hour))},
              {"mark", to_string(verdict.mark)},
              {"latestBytes", static_cast<std::int64_t>(trace.series.latest())},
              {"readings", trace.series.readings()},
              {"leftOut", trace.left_out},
              {"seconds", rounded(trace.series.seconds(), 1000)},
              {"secondsToCap", nullptr}};
  if (verdict.seconds_to_cap) out["secondsToCap"] = rounded(*verdict.seconds_to_cap, 10);
  return out;
}

std::string verdict_text(const std::string& file, const LeakVerdict& verdict) {
  std::array<char, 96> figures{};
  std::snprintf(figures.data(), figures.size(), "%-8s  %+9.1f MB/h  %3.0f %%  %-11s  ",
                std::string(to_string(verdict.level)).c_str(), verdict.growth_per_hour / megabyte,
                verdict.confidence * 100, std::string(to_string(verdict.shape)).c_str());
  std::string out = figures.data() + printable(file);
  if (verdict.seconds_to_cap && *verdict.seconds_to_cap < longest_prediction) {
    out += "  (at its cap in " + brief(Duration(std::llround(*verdict.seconds_to_cap * 1000))) + ")";
  }
  return out;
}

/// Files that cannot be read are complained of one by one; the others are judged all the same.
Answer<ExitStatus> replay_leaks(const ReplayOptions& options) {
  LeakRules rules;
  rules.cap = options.cap.value_or(Bytes{});
  ExitStatus status = ExitStatus::done;
  for (const std::string& file : options.files) {
    const auto trace = read_trace(file);
    if (!trace) {
      status = trace.error().status;
      std::fflush(stdout);
      complain("replay", trace.error());
      continue;
    }
    const LeakVerdict verdict = judge_leak(trace->series, rules);
    std::printf(
        "%s\n",
        options.json
            ? verdict_json(file, *trace, verdict).dump(-1, ' ', false, json::error_handler_t::replace).c_str()
            : verdict_text(file, verdict).c_str());
    const bool is_leak = verdict.level != LeakLevel::none;
    if (is_leak && options.fail && status == ExitStatus::done) status = ExitStatus::task_failed;
  }
  return status;
}

}  // namespace

void add_replay(Commands& commands) {
  auto& options = commands.keep<ReplayOptions>();
  Command command = commands.add(
      "replay", "a recording through the policies of a configuration, or leak verdicts of traces",
      "kurultaid --record night.life …; kurultai replay night.life\n"
      "  kurultai replay night.life --config config/memory.yaml --config /tmp/other.yaml\n"
      "  kurultai replay --leak agent.csv w3.csv\n"
      "  kurultai replay --leak --json --cap 512MiB agent.csv | jq .verdict\n\n"
      "Of a recording: what was done, beside what the policies in effect then, or those of the "
      "configurations,\n"
      "would have done on the same readings and submissions: crossings, preemptions, kills, refusals.\n"
      "With --leak a line a file: none, warning (from 50 MB/h) or critical (from 100 MB/h), the growth that "
      "is\n"
      "kept, how sure that is, and the shape that decided. Twelve readings over 5 s are the least.");
  command.arguments("files", options.files, "TRACE",
                    "one recording of kurultaid --record; with --leak CSV files of seconds,bytes");
  command.flag("--leak", options.leak, "judge whether a process leaks");
  command.option("--config", options.configs, "FILE", "try its policies; twice: side by side");
  command.option("--cap", options.cap, "its memory cap: also tell when a leak will reach it");
  command.flag("--fail", options.fail, "exit status 1 when there is a leak");
  command.json_flag(options.json, "an object; with --leak one a line");
  command.does("replay", [&options]() -> Answer<ExitStatus> {
    if (!options.leak) return replay_life(options);
    if (!options.configs.empty()) return complaint(ExitStatus::usage, "--config goes without --leak");
    return replay_leaks(options);
  });
}

}  // namespace kurultai
