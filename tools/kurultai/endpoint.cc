#include "tools/kurultai/endpoint.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace kurultai {
namespace {

// sun_path of unix(7), with its end.
constexpr std::size_t longest_socket_path = 107;

Answer<Endpoint> at_socket(const std::string& path) {
  if (path.size() > longest_socket_path) {
    return complaint(ExitStatus::usage, path + ": too long, a socket's path has at most 107 bytes");
  }
  return Endpoint{path, "http://localhost", "", {path}};
}

Answer<Endpoint> at_url(std::string url) {
  if (url.find("://") == std::string::npos) url = "http://" + url;
  if (!url.starts_with("http://") && !url.starts_with("https://")) {
    return complaint(ExitStatus::usage, url + ": only http:// and https:// are spoken");
  }
  while (url.ends_with('/')) url.pop_back();
  return Endpoint{"", url, "", {url}};
}

std::vector<std::string> default_sockets(const Environment& environment, bool is_root) {
  std::vector<std::string> places;
  if (const auto runtime = environment("XDG_RUNTIME_DIR"); runtime && !runtime->empty()) {
    places.push_back(*runtime + "/kurultai.sock");
  }
  places.emplace_back("/run/kurultai/kurultai.sock");
  if (is_root) std::ranges::reverse(places);
  return places;
}

}  // namespace

std::string Endpoint::name() const {
  std::string out;
  for (const auto& place : places) out += (out.empty() ? "" : " or ") + place;
  return out;
}

Answer<Endpoint> choose_endpoint(const ConnectOptions& options, const Environment& environment, bool is_root,
                                 const std::function<bool(const std::string&)>& exists) {
  if (!options.socket.empty()) return at_socket(options.socket);
  if (!options.url.empty()) return at_url(options.url);
  if (const auto socket = environment("KURULTAI_SOCKET"); socket && !socket->empty())
    return at_socket(*socket);
  if (const auto url = environment("KURULTAI_URL"); url && !url->empty()) return at_url(*url);

  const auto places = default_sockets(environment, is_root);
  const auto there = std::ranges::find_if(places, exists);
  if (there != places.end()) return at_socket(*there);
  return Endpoint{places.front(), "http://localhost", "", places};
}

Answer<std::string> read_token(const std::string& path) {
  std::ifstream file(path);
  std::string token;
  if (!std::getline(file, token)) {
    return complaint(ExitStatus::usage,
                     path + ": " + (file.is_open() ? "holds no token" : std::strerror(errno)));
  }
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  if (std::ranges::any_of(token, [](char c) { return static_cast<unsigned char>(c) < 0x21; })) {
    return complaint(ExitStatus::usage, path + ": holds no token");
  }
  return token;
}

Answer<Endpoint> choose_endpoint(const ConnectOptions& options) {
  auto endpoint = choose_endpoint(options, process_environment(), geteuid() == 0,
                                  [](const std::string& path) { return access(path.c_str(), F_OK) == 0; });
  if (!endpoint || options.token_file.empty()) return endpoint;
  auto token = read_token(options.token_file);
  if (!token) return std::unexpected(token.error());
  endpoint->token = std::move(*token);
  return endpoint;
}

}  // namespace kurultai
