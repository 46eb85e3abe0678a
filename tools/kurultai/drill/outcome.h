// What a drill showed: who paid, how soon, and how the others fared. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "config/config.h"
#include "protocol/bytes.h"

namespace kurultai {

struct DrillBystander {
  std::string priority;
  std::string state;  // of its task at the end
  std::int64_t rounds = 0;
  std::int64_t errors = 0;
  double longest_ms = 0;  // that one round took

  bool is_unharmed() const { return state == "completed" && rounds > 0 && errors == 0; }
};

struct DrillOutcome {
  std::string guarantee;
  std::string explanation;
  Bytes budget;
  Bytes highest;          // use of all, as often as one could look
  std::string leak_end;   // preempt, suspend, kill, or the reason of its failure; empty: nothing stopped it
  double leak_ratio = 0;  // use of the budget when that was decided; 0: not known
  Bytes leak_peak;
  std::chrono::milliseconds leak_ran{};
  std::optional<double> reaction_ms;  // from the reading to the end, the mean of the supervisor's own figures
  DrillBystander healthy, important;

  bool is_survived() const {
    return !leak_end.empty() && healthy.is_unharmed() && important.is_unharmed() && highest <= budget;
  }
};

/// The operator's memory settings, with tasks of the drill instead of the agents, alone for itself. At most
/// `most` of budget, so that a drill does not take the machine.
Config drill_configuration(Config config, Bytes most);

std::string to_report(const DrillOutcome& outcome);
std::string to_json(const DrillOutcome& outcome);

}  // namespace kurultai
