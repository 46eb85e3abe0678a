// Short ways to a Config, and to its errors, from the text of a test.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "config/load.h"

namespace kurultai::testing {

using Variables = std::map<std::string, std::string, std::less<>>;

inline Environment environment_of(Variables variables) {
  return [variables = std::move(variables)](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

/// The errors as people see them; the file is called `f`.
inline std::vector<std::string> errors_of(std::string_view text, Variables variables = {}) {
  std::vector<std::string> all;
  const auto config = parse_config(text, "f", environment_of(std::move(variables)));
  if (config) return all;
  for (const ConfigError& error : config.error()) all.push_back(to_string(error));
  return all;
}

inline std::string joined(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return all;
}

/// The only error there is.
inline std::string error_of(std::string_view text, Variables variables = {}) {
  const auto errors = errors_of(text, std::move(variables));
  CAPTURE(joined(errors));
  REQUIRE(errors.size() == 1);
  return errors[0];
}

inline Config config_of(std::string_view text, const Variables& variables = {}) {
  auto config = parse_config(text, "f", environment_of(variables));
  if (!config) FAIL(joined(errors_of(text, variables)));
  return *std::move(config);
}

/// An agent called `a` with these settings, each line already indented by four blanks.
inline std::string agent_text(const std::string& settings) { return "agents:\n  a:\n" + settings; }

}  // namespace kurultai::testing
