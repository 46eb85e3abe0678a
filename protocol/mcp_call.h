// What a task asks of an MCP server, read from its payload. Pure.
#pragma once

#include <string>

#include "protocol/error.h"
#include "protocol/messages.h"

namespace kurultai {

struct McpCall {
  enum class Kind { tool, resource, prompt, method } kind = Kind::tool;
  std::string name;    // of the tool, prompt or method; the URI of a resource
  JsonText arguments;  // an object (of a method: its params); empty: none were given
  bool operator==(const McpCall&) const = default;
};

/// Of the methods: what the server said to it at its start. Its host answers, without asking again.
inline constexpr const char* mcp_initialize = "initialize";

/// `{"tool": NAME, "arguments": {…}}`, `{"prompt": NAME, "arguments": {…}}`, `{"resource": URI}`, or, for
/// what a server offers, `{"method": NAME, "params": {…}}` with one of the methods that change nothing for
/// its other clients. A field besides these is refused: it would be a misspelt `arguments` in most cases.
Result<McpCall> read_mcp_call(const JsonText& payload);

}  // namespace kurultai
