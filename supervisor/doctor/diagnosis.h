// What a machine's facts mean for a configuration: what holds, what does not, and what to change. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/doctor/facts.h"

namespace kurultai {

/// good; worth knowing and to be changed where it matters; or something that will not work as configured.
enum class CheckStatus : std::uint8_t { good, warning, problem };
std::string_view to_string(CheckStatus status);

struct Check {
  std::string name;
  CheckStatus status = CheckStatus::good;
  std::string finding;
  std::string advice;  // empty: nothing to change
};

/// `required`: a machine that guarantees less has a problem.
std::vector<Check> diagnose(const MachineFacts& facts, const Config& config,
                            Guarantee required = Guarantee::rlimit);

/// The worst of them.
CheckStatus worst(const std::vector<Check>& checks);

/// For people: a line each, advice below it.
std::string to_report(const std::vector<Check>& checks);
/// `{"status","guarantee","checks":[{"check","status","finding","advice"}]}`, on one line.
std::string to_json(const std::vector<Check>& checks, Guarantee guarantee);

}  // namespace kurultai
