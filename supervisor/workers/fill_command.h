// The command of one exec task: the agent's, with the payload's fields filled in. Pure.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "protocol/error.h"
#include "protocol/messages.h"

namespace kurultai {

/// The name of the built-in agent behind `kurultai exec` and `run`: its payload holds the command itself.
inline constexpr std::string_view command_agent = "exec";

/// Texts go in as they are, numbers and true/false as JSON writes them, lists and objects as JSON text.
/// Refused: a field that the payload does not have (or that is null), a NUL byte (the kernel would cut the
/// argument there).
Result<std::vector<std::string>> fill_command(const AgentConfig& agent, const JsonText& payload);

}  // namespace kurultai
