// `gateway.listen`: where the HTTP of TCP is served. Pure; no name is looked up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/error.h"

namespace kurultai {

struct ListenAddress {
  std::string host;  // a name or an address; IPv6 without its brackets
  std::uint16_t port = 0;
};

/// Reads `127.0.0.1:7717`, `[::1]:7717`, `localhost:0` (0: any free port); nullopt for `none`.
Result<std::optional<ListenAddress>> parse_listen(std::string_view text);

/// Whether only processes of this machine reach `host`: localhost, 127.0.0.0/8, ::1.
bool is_loopback(std::string_view host);

}  // namespace kurultai
