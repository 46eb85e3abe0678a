// One task's log on disk: FILE, and FILE.1 with what came before it. Each begins with a line of digits: how
// many bytes of the log are before it. When both are full the older goes, so the newest stay. Any thread, one
// at a time for a file; blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "protocol/error.h"

namespace kurultai {

/// Keeps at most `limit` bytes of it; gives how many are kept now. What could not be written is not there in
/// part.
Result<std::int64_t> append_to_log(const std::string& file, std::string_view text, std::size_t limit);

struct LogPiece {
  std::string text;
  std::uint64_t next = 0;  // where the log goes on behind it
  bool is_all = true;      // so far
};

/// Of what is before `from`: as much as is asked for of the newest.
inline constexpr std::uint64_t newest_of_log = std::numeric_limits<std::uint64_t>::max();

/// Up to `most` bytes from the place `from`. If those there are no longer kept, a line says how many are
/// missing, and it goes on with the first whole line behind them.
Result<LogPiece> read_log(const std::string& file, std::uint64_t from, std::size_t most);

void remove_log(const std::string& file);

/// Bytes of the log in a file of this size: FILE or FILE.1.
std::int64_t log_bytes_in(std::int64_t file_size);

}  // namespace kurultai
