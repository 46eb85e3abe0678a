// One line of an MCP client, told apart: a request, a notification, an answer, or why it is none of them.
// Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "protocol/messages.h"

namespace kurultai {

/// What the client wants done. `params` lies in the message that was read, or is null; valid as long as that
/// is.
struct ClientRequest {
  JsonText id;  // as it came: a text or a number
  std::string method;
  const nlohmann::json& params;
};
struct ClientNotification {
  std::string method;
  const nlohmann::json& params;
};
struct ClientAnswer {};  // to nothing: we ask the client nothing
struct BadMessage {
  JsonText id;  // `null` where none can be told
  std::int64_t code = 0;
  std::string why;
};
using ClientMessage = std::variant<ClientRequest, ClientNotification, ClientAnswer, BadMessage>;

ClientMessage read_client_message(const nlohmann::json& message);

/// `_meta.progressToken`, where the client gave one of the right type; else empty.
JsonText progress_token(const nlohmann::json& params);

/// The version of MCP to speak with a client that asks for `wanted`: that one when it is known, else the
/// newest.
std::string_view negotiate_version(std::string_view wanted);

}  // namespace kurultai
