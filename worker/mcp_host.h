// Makes an MCP server an agent (`protocol: mcp`): starts it, speaks protocol 1 on stdin and stdout with the
// supervisor and JSON-RPC with the server, and turns each task into one call. All tasks of a worker share its
// server. Trusted: it keeps the supervisor's user; only the server gets the limits and the user of `Launch`.
#pragma once

#include <sys/types.h>

#include <vector>

#include "worker/launch.h"

namespace kurultai {

/// Serves until SHUTDOWN, the end of stdin, of the server or of the supervisor (`parent`); nothing that the
/// server started is left then. Returns the exit status; when the server was killed by a signal the host
/// dies of the same one.
int host_mcp_server(const Launch& launch, pid_t parent, const std::vector<char*>& argv);

}  // namespace kurultai
