// `config check`, `show` and `schema`: what a file amounts to, and what is in effect.
#include <cstdio>

#include "config/load.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/config_file.h"
#include "tools/kurultai/supervisor.h"

namespace kurultai {
namespace {

Answer<std::string> file_or_default(const std::string& file) {
  if (!file.empty()) return file;
  if (auto found = find_config(process_environment())) return std::move(*found);
  return complaint(ExitStatus::no_such_thing,
                   "no configuration in ./config/memory.yaml, $XDG_CONFIG_HOME/kurultai/ or /etc/kurultai/; "
                   "name the file");
}

Answer<ExitStatus> config_check(const std::string& file) {
  const auto path = file_or_default(file);
  if (!path) return std::unexpected(path.error());
  const auto config = read_config(*path);
  if (!config) return std::unexpected(config.error());
  std::printf("%s: good\n", path->c_str());
  return ExitStatus::done;
}

Answer<ExitStatus> config_show(Http& http, bool as_json) {
  const auto body = get(http, "/v1/config");
  if (!body) return std::unexpected(body.error());
  if (as_json) {
    std::printf("%s\n", body->c_str());
    return ExitStatus::done;
  }
  // JSON is YAML, and the supervisor sends the shape of memory.yaml.
  const auto config = parse_config(*body, "/v1/config", [](std::string_view) { return std::nullopt; });
  std::printf("%s\n", config ? config_to_yaml(*config).c_str() : body->c_str());
  return ExitStatus::done;
}

Answer<ExitStatus> config_show_file(const std::string& file, bool as_json) {
  const auto config = read_config(file);
  if (!config) return std::unexpected(config.error());
  std::printf("%s\n", (as_json ? config_to_json(*config) : config_to_yaml(*config)).c_str());
  return ExitStatus::done;
}

Answer<ExitStatus> config_schema_text() {
  std::printf("%s\n", config_schema().c_str());
  return ExitStatus::done;
}

struct ConfigOptions {
  std::string file;
  bool json = false;
};

void add_check(Command& config, std::string& file) {
  Command check = config.add("check", "every mistake in a file, with its line",
                             "kurultai config check config/memory.yaml");
  check.optional_argument("file", file, "FILE", "the one kurultaid would use, when absent");
  check.does("config check", [&file] { return config_check(file); });
}

void add_show(Commands& commands, Command& config, ConfigOptions& options) {
  Command show = config.add("show", "the supervisor's configuration in effect, or what a file amounts to",
                            "kurultai config show\n  kurultai config show config/memory.yaml");
  show.optional_argument("file", options.file, "FILE", "a file instead of the supervisor");
  show.json_flag(options.json);
  show.does("config show", [&commands, &options] {
    if (!options.file.empty()) return config_show_file(options.file, options.json);
    return commands.ask([&options](Http& http) { return config_show(http, options.json); });
  });
}

}  // namespace

void add_config(Commands& commands) {
  auto& options = commands.keep<ConfigOptions>();
  Command config = commands.add("config", "check, show or describe the configuration",
                                "kurultai config check memory.yaml");
  add_check(config, options.file);
  add_show(commands, config, options);
  Command schema = config.add("schema", "JSON Schema of memory.yaml, for editors",
                              "kurultai config schema > memory.schema.json");
  schema.does("config schema", config_schema_text);
}

}  // namespace kurultai
