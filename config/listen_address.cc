#include "config/listen_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "config/yaml_tree.h"

namespace kurultai {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return port;
}

bool is_host_name(std::string_view host) {
  return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-';
  });
}

bool is_ipv6(std::string_view host) {
  in6_addr address;
  return inet_pton(AF_INET6, std::string(host).c_str(), &address) == 1;
}

}  // namespace

Result<std::optional<ListenAddress>> parse_listen(std::string_view text) {
  if (text == "none") return std::nullopt;
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return failure(in_quotes(text) + " is not HOST:PORT or none");
  std::string_view host = text.substr(0, colon);
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return failure(in_quotes(text) + " does not end in a port from 0 to 65535");
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed ? !is_ipv6(host) : !is_host_name(host)) {
    return failure(in_quotes(text) + " names no host; write 127.0.0.1:7717, [::1]:7717 or name:7717");
  }
  return ListenAddress{std::string(host), *port};
}

bool is_loopback(std::string_view host) {
  if (host == "localhost") return true;
  const std::string name(host);
  in_addr v4;
  if (inet_pton(AF_INET, name.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, name.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace kurultai
