// What a server of MCP says of itself when it is asked to initialize. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "protocol/messages.h"

namespace kurultai {

/// Our own version, as `kurultai --version` tells it.
std::string_view own_version();

/// The supervisor itself.
JsonText supervisor_facts(const nlohmann::json& params);

/// An agent's server, by what it said to its host (`said`): its name, version, instructions and what it can
/// do, without what does not reach a client through tasks (subscriptions, changes of lists, levels of its
/// log).
JsonText agent_facts(const nlohmann::json& params, const nlohmann::json& said);

/// An agent whose server could not be asked yet, and why.
JsonText unknown_agent_facts(const nlohmann::json& params, const std::string& agent, const std::string& why);

}  // namespace kurultai
