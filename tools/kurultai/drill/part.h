// What the tasks of a drill do: one takes memory as fast as it gets it, the others do what programs do all
// the time, and measure how long they had to wait for it. Each is the whole of its process.
#pragma once

#include <string>

#include "protocol/bytes.h"

namespace kurultai {

/// Takes and touches memory up to `most`, and then waits to be ended. Returns 1 where it is given none.
int drill_leak(Bytes most);

/// Holds `held`, and forks, writes to a pipe, reads a file and takes a mebibyte for a moment, again and again
/// until the file `until` is there, at most two minutes. Prints `{"rounds","longestMs","errors"}`.
int drill_bystander(Bytes held, const std::string& until);

}  // namespace kurultai
