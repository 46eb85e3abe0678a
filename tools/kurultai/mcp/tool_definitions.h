// The tools by which a model uses a supervisor, as `tools/list` tells them, and the check of what it gives
// them. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace kurultai {

/// `{"tools":[…]}`, the same each time.
const nlohmann::json& tool_definitions();

/// The definition of one; null when there is none of that name.
const nlohmann::json* find_tool(const std::string& name);

/// What is wrong with `arguments` by a tool's input schema; nothing when they are right. Of JSON Schema it
/// knows what the definitions use.
std::optional<std::string> check_arguments(const nlohmann::json& schema, const nlohmann::json& arguments);

}  // namespace kurultai
