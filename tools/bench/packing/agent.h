// One task of the workload as a process: touches its memory, holds it for its time and ends. It writes its
// start and its end down itself, so that what happened is known in the same way of all who run such tasks.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/packing/workload.h"

namespace kurultai::bench {

/// What a process of ours takes itself, the pages of its program and its libraries among it: so much less is
/// touched.
inline constexpr int own_mib = 10;

/// The words of the command, and what they mean to `run_task`. A leak grows to `leak_mib` while its time
/// lasts.
std::vector<std::string> command_of(std::size_t id, const PackedTask& task, int leak_mib,
                                    const std::string& journal);

/// The same with `{id}`, `{mib}`, `{ms}` and `{grow}` to be filled in.
std::vector<std::string> command_template(const std::string& journal);

/// Where the program was started with such a command; the value is its exit status.
int run_task(const std::vector<std::string>& words);

/// What the journal of a run tells.
struct Told {
  int starts = 0;
  int ends = 0;  // by itself, with all its time
};
std::vector<Told> read_journal(const std::string& journal, std::size_t tasks);

}  // namespace kurultai::bench
