#include "config/load.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "config/reading.h"

namespace kurultai {
namespace {

std::unexpected<std::vector<ConfigError>> unreadable(const std::string& path, std::string why) {
  return std::unexpected(std::vector<ConfigError>{{path, 0, 0, std::move(why)}});
}

std::string cause(int code) { return std::generic_category().message(code); }

struct OpenFile {
  int fd;
  ~OpenFile() {
    if (fd >= 0) close(fd);
  }
};

std::string too_large() {
  return "larger than " + to_string(Bytes{static_cast<std::int64_t>(max_config_bytes)}) +
         ", which no configuration is";
}

/// Pipes are read too (`--config <(…)`), so the size is found out by reading.
ConfigResult<std::string> read_file(const std::string& path) {
  const OpenFile file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return unreadable(path, "cannot be opened: " + cause(errno));
  struct stat about{};
  if (fstat(file.fd, &about) == 0 && S_ISDIR(about.st_mode))
    return unreadable(path, "a directory, not a file");
  std::string text;
  std::array<char, 65536> block;
  while (true) {
    const ssize_t got = read(file.fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(path, "cannot be read: " + cause(errno));
    if (got == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(got));
    if (text.size() > max_config_bytes) return unreadable(path, too_large());
  }
}

}  // namespace

std::string to_string(const ConfigError& error) {
  std::string text = error.file;
  for (const int number : {error.line, error.column}) {
    if (error.line > 0) text.append(":").append(std::to_string(number));
  }
  return text + ": " + error.text;
}

ConfigResult<Config> parse_config(std::string_view text, const std::string& file,
                                  const Environment& environment) {
  if (text.size() > max_config_bytes) return unreadable(file, too_large());
  Config config;
  Findings findings;
  std::vector<YamlMistake> complaints;
  const auto tree = parse_yaml(text, complaints);
  for (const YamlMistake& complaint : complaints) findings.refuse({file, complaint.at}, complaint.text);
  if (!tree) return std::unexpected(findings.take_errors());
  read_tree(*tree, file, config, findings);
  read_environment(environment, config, findings);
  check_config(file, config, findings);
  if (findings.count() > 0) return std::unexpected(findings.take_errors());
  return config;
}

ConfigResult<Config> load_config(const std::string& path, const Environment& environment) {
  const auto text = read_file(path);
  if (!text) return std::unexpected(text.error());
  return parse_config(*text, path, environment);
}

}  // namespace kurultai
