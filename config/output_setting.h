// How `output` of an exec agent is read, printed and described: a word, or a map with `format` and `rules`.
#pragma once

#include <optional>

#include "config/config.h"
#include "config/setting_types.h"

namespace kurultai {

struct OutputSetting {
  static std::optional<AgentOutput> read(const YamlNode& node, const Refuse& refuse);
  static Json print(const AgentOutput& value);
  static Json schema();
};

}  // namespace kurultai
