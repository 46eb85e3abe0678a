// `health` of an agent: one word, or a mapping of the strategy and its figures. See setting_types.h for the
// three functions.
#pragma once

#include <optional>

#include "config/config.h"
#include "config/setting_types.h"

namespace kurultai {

struct HealthSetting {
  static std::optional<HealthConfig> read(const YamlNode& node, const Refuse& refuse);
  static Json print(const HealthConfig& value);
  static Json schema();
};

}  // namespace kurultai
