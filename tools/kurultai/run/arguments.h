// What `kurultai run` makes of its command line: the command, its arguments, and the memory they may take.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "tools/kurultai/complaint.h"

namespace kurultai {

struct CommandLine {
  std::vector<std::string> command;
  std::optional<std::vector<std::string>> arguments;  // behind `:::`; nullopt without it
};

/// Cuts at the first `:::`. A second one and an empty command are refused.
Answer<CommandLine> split_arguments(const std::vector<std::string>& words);

/// `{}` is replaced in every word, what was put in is not looked at again; without any `{}` the argument is
/// appended.
std::vector<std::string> with_argument(const std::vector<std::string>& command, std::string_view argument);

struct MemoryPlan {
  Bytes budget;
  Bytes memory;  // of one command
};

/// Defaults: 1GiB, and for a command 512MiB or what the budget leaves beside the supervisor. A cap above the
/// budget is refused.
Answer<MemoryPlan> plan_memory(std::optional<Bytes> budget, std::optional<Bytes> memory);

}  // namespace kurultai
