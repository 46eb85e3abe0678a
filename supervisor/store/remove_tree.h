// Removes what an agent left behind, whatever it is: it made every name, mode and depth in it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "protocol/bytes.h"

namespace kurultai {

enum class Removal : std::uint8_t {
  done,   // nothing is left
  more,   // the time was over: call again
  stuck,  // the rest cannot be removed; not by us, or not now
};

/// Works for about `patience`. Follows no symlink, enters no other file system or bind mount, gives itself
/// the rights to directories of its own user, and goes down any depth with 64 descriptors. Blocks: for a
/// thread.
Removal remove_tree(const std::string& directory, std::chrono::milliseconds patience);

/// What the files in it take on disk, looking at `most_entries` at most; beyond those: as if it were endless.
/// Others may change it meanwhile. Blocks: for a thread.
Bytes disk_use(const std::string& directory, std::size_t most_entries);

}  // namespace kurultai
