// `mcp`: a server of the Model Context Protocol on stdin and stdout.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <random>
#include <string>

#include "tools/kurultai/commands.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/mcp/proxy_offer.h"
#include "tools/kurultai/mcp/session.h"
#include "tools/kurultai/mcp/supervisor_offer.h"

namespace kurultai {
namespace {

/// Begins the keys of this process's tasks: no other one's, however soon a process id comes again.
std::string key_start() {
  std::random_device random;
  return "mcp-" + std::to_string(::getpid()) + "-" + std::to_string(random()) + "-";
}

Answer<ExitStatus> serve(Http& http, const std::string& proxied) {
  ::signal(SIGPIPE, SIG_IGN);  // a client that has gone is told by the write
  const Interrupts interrupts;
  std::unique_ptr<Offer> offer;
  if (proxied.empty())
    offer = std::make_unique<SupervisorOffer>(http);
  else
    offer = std::make_unique<ProxyOffer>(http, proxied, key_start());
  Session session(http, *offer);
  session.run();
  return Interrupts::count() > 0 ? ExitStatus::interrupted : ExitStatus::done;
}

}  // namespace

void add_mcp(Commands& commands) {
  auto& proxied = commands.keep<std::string>();
  Command command = commands.add("mcp", "an MCP server on stdio, for agents that submit tasks themselves",
                                 "claude mcp add kurultai -- kurultai mcp\n"
                                 "  claude mcp add every -- kurultai mcp --proxy every");
  command.option("--proxy", proxied, "AGENT",
                 "be the MCP server that this agent (protocol: mcp) is: one process for all its clients");
  command.asks("mcp", [&proxied](Http& http) { return serve(http, proxied); });
}

}  // namespace kurultai
