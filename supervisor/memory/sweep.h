// Finds what an instance started by the mark in its environment, KURULTAI_INSTANCE=<instance>. For where no
// group holds the processes together: at start for what an earlier run left, and in the guardian. What
// cleared its environment is found while one of its ancestors still has the mark.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "protocol/error.h"
#include "supervisor/memory/proc.h"

namespace kurultai {

inline constexpr const char* instance_mark = "KURULTAI_INSTANCE";

/// Living processes with the mark, and their descendants; never ourselves, our ancestors, or `spared`.
/// Processes whose environment we may not read are passed over; and that of those which started before
/// `since` (clock ticks after boot) is not looked at.
Result<std::vector<ProcessState>> find_marked(const std::string& proc_root, const std::string& instance,
                                              const std::vector<int>& spared = {}, std::uint64_t since = 0);

/// Kills them, again and again, until a search finds none. Blocks, at most `patience`. Refuses when our own
/// environment has this very mark, for then it cannot tell ours from others.
Result<void> sweep_marked(const std::string& proc_root, const std::string& instance,
                          std::chrono::milliseconds patience, const std::vector<int>& spared = {});

}  // namespace kurultai
