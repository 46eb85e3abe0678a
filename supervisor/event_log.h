// The log of the supervisor: one line a transition, on stderr, written by a thread so that a slow reader of
// stderr never holds up the loop (when 1,024 lines wait, the oldest are dropped).
#pragma once

#include <string>

#include "protocol/error.h"
#include "supervisor/events.h"

namespace kurultai {

struct MemorySnapshot;

/// `level` is trace, debug, info, warn, error or off. Call once, after the guardian was forked: it starts a
/// thread.
Result<void> start_log(const std::string& level);
/// Writes what waits and ends the thread.
void stop_log();

void log_event(const Event& event);
/// At debug, at most once in 5 s (REQUIREMENTS K1).
void log_snapshot(const MemorySnapshot& snapshot);
void log_info(const std::string& line);
void log_warning(const std::string& line);
void log_error(const std::string& line);

}  // namespace kurultai
