// stdout as a client of MCP reads it: whole lines, and nothing else.
#pragma once

#include <string_view>

namespace kurultai {

/// Writes all of it, and waits for a reader that is slow; false when there is none any more, or when we were
/// told to end meanwhile.
bool write_to_client(std::string_view line);

/// Whether nobody can read stdout any more.
bool client_has_gone();

}  // namespace kurultai
