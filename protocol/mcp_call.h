// What a task asks of an MCP server, read from its payload. Pure.
#pragma once

#include <string>

#include "protocol/error.h"
#include "protocol/messages.h"

namespace kurultai {

struct McpCall {
  enum class Kind { tool, resource, prompt } kind = Kind::tool;
  std::string name;    // of the tool or prompt; the URI of a resource
  JsonText arguments;  // an object; empty: none were given
  bool operator==(const McpCall&) const = default;
};

/// `{"tool": NAME, "arguments": {…}}`, `{"prompt": NAME, "arguments": {…}}` or `{"resource": URI}`. A field
/// besides these is refused: it would be a misspelt `arguments` in most cases.
Result<McpCall> read_mcp_call(const JsonText& payload);

}  // namespace kurultai
