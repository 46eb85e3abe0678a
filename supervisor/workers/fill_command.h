// The command of one exec task: the agent's, with the payload's fields filled in. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "protocol/error.h"
#include "protocol/messages.h"

namespace kurultai {

/// The name of the built-in agent behind `kurultai exec` and `run`: its payload holds the command itself.
inline constexpr std::string_view command_agent = "exec";

struct FilledCommand {
  std::vector<std::string> argv = {};
  std::string cwd = {};                    // of the command agent's payload; empty: the worker's own
  std::optional<Bytes> memory_limit = {};  // likewise; absent: the agent's
  std::optional<std::string> input = {};   // absent: the payload
};

/// Texts go in as they are, numbers and true/false as JSON writes them, lists and objects as JSON text.
/// Refused: a field that the payload does not have (or that is null), a NUL byte (the kernel would cut the
/// argument there). The command agent's payload: `command`, a list of strings, `cwd`, an absolute path, and
/// `memoryLimitBytes`.
Result<FilledCommand> fill_command(const AgentConfig& agent, const JsonText& payload);

}  // namespace kurultai
