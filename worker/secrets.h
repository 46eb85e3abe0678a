// Variables whose values stand in files.
#pragma once

#include <string>

#include "protocol/bytes.h"
#include "protocol/error.h"

namespace kurultai {

inline constexpr Bytes longest_secret = kibibytes(64);

/// `NAME=FILE`: reads the file and puts what it holds, without one newline at its end, into this process's
/// own environment, from where commands have it. An Error names the variable and the file, and never what is
/// in it.
Result<void> set_from_file(const std::string& variable);

}  // namespace kurultai
