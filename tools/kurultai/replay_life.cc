// A recorded life through the policies of one or two configurations.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "config/policy_rules_of.h"
#include "protocol/json_text.h"
#include "tools/kurultai/config_file.h"
#include "tools/kurultai/life_file.h"
#include "tools/kurultai/replay_options.h"
#include "tools/kurultai/replay_report.h"

namespace kurultai {
namespace {

constexpr std::size_t most_configs = 2;

Answer<std::vector<Config>> read_configs(const std::vector<std::string>& files) {
  std::vector<Config> configs;
  configs.reserve(files.size());
  for (const std::string& file : files) {
    auto config = read_config(file);
    if (!config) return std::unexpected(config.error());
    configs.push_back(*std::move(config));
  }
  return configs;
}

/// Only the recording says what `budget: auto` is.
void begin(ReplayReport& report, const LifeHeader& header, const ReplayOptions& options,
           const std::vector<Config>& configs) {
  report.header = header;
  if (configs.empty()) report.policies.push_back({"", PolicyReplay({})});
  for (std::size_t i = 0; i < configs.size(); ++i) {
    report.policies.push_back(
        {options.configs[i], PolicyReplay(policy_rules_of(configs[i], header.machine))});
  }
}

}  // namespace

Answer<ExitStatus> replay_life(const ReplayOptions& options) {
  if (options.files.size() > 1)
    return complaint(ExitStatus::usage, "one recording at a time; CSV traces of processes go with --leak");
  if (options.cap || options.fail)
    return complaint(ExitStatus::usage, std::string(options.cap ? "--cap" : "--fail") + " goes with --leak");
  if (options.configs.size() > most_configs)
    return complaint(ExitStatus::usage, "at most two configurations are shown side by side");
  const auto configs = read_configs(options.configs);
  if (!configs) return std::unexpected(configs.error());
  ReplayReport report;
  report.file = options.files.front();
  const auto read = for_each_record(report.file, [&](const LifeRecord& record) {
    if (const auto* header = std::get_if<LifeHeader>(&record)) begin(report, *header, options, *configs);
    report.life.take(record);
    for (TriedPolicy& policy : report.policies) policy.replay.take(record);
  });
  if (!read) return std::unexpected(read.error());
  const std::string text = options.json ? to_text(to_json(report)) + "\n" : to_text(report);
  std::fputs(text.c_str(), stdout);
  return ExitStatus::done;
}

}  // namespace kurultai
