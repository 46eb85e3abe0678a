#include "tools/kurultai/payload.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"

namespace kurultai {
namespace {

// Far above what a supervisor takes by default (gateway.max_body, 1 MiB): only so that a device does not fill
// us.
constexpr std::size_t max_payload = 64UL * 1024 * 1024;

Answer<std::string> read_descriptor(int fd, const std::string& name) {
  std::string out;
  std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return complaint(ExitStatus::usage, name + ": " + std::strerror(errno));
    if (got == 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(got));
    if (out.size() > max_payload) return complaint(ExitStatus::usage, name + ": longer than 64MiB");
  }
}

Answer<std::string> read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return complaint(ExitStatus::usage, "payload " + path + ": " + std::strerror(errno));
  auto out = read_descriptor(fd, "payload " + path);
  close(fd);
  return out;
}

}  // namespace

Answer<std::string> read_payload(const std::string& argument) {
  if (argument.empty()) return std::string();
  const bool from_stdin = argument == "-";
  const bool from_file = argument.starts_with('@');
  auto text = from_stdin  ? read_descriptor(STDIN_FILENO, "stdin")
              : from_file ? read_file(argument.substr(1))
                          : Answer<std::string>(argument);
  if (!text) return text;
  if (text->empty()) {
    return complaint(ExitStatus::usage, (from_stdin ? "stdin" : "payload " + argument.substr(1)) +
                                            " is empty; write null for a task without a payload");
  }
  if (const auto value = parse_json(*text); !value) {
    const std::string name = from_stdin ? "stdin" : from_file ? argument.substr(1) : "--payload";
    return complaint(ExitStatus::usage, "payload is no JSON: " + name + ": " + value.error().message);
  }
  return text;
}

}  // namespace kurultai
