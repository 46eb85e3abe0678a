// Small files that are there whole or not at all. Any thread; blocks.
#pragma once

#include <fcntl.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "protocol/error.h"

namespace kurultai {

/// Flags for open(2) of files that are written and read again later. An agent of our own user could put
/// anything in their place: no symlink is followed, and no FIFO keeps a thread waiting for its other end.
inline constexpr int open_plainly = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

/// Fails for a file of more than `largest` bytes.
Result<std::string> read_whole(const std::string& path, std::size_t largest);
/// However many calls it takes.
Result<void> write_whole(int fd, const std::string& path, std::string_view bytes);
/// To a new file, mode 0600, or over one that is there.
Result<void> copy_file(const std::string& from, const std::string& to);
/// Puts what is in the file, as far as memory still has it, into a new one in its place. After an fsync that
/// failed the kernel counts what it could not write as written: a second one would say yes to what is not
/// there.
Result<void> rewrite_file(const std::string& path);
/// Mode 0600. A failure or a crash in between leaves what was there, and nothing beside it that the next
/// call would not replace.
Result<void> replace_file(const std::string& path, std::string_view bytes);

}  // namespace kurultai
