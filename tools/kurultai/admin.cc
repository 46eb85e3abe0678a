// Commands of the operator: drain, reload, config.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "config/load.h"
#include "tools/kurultai/commands.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/table.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

using nlohmann::json;

std::string number(const json& object, const char* name) {
  const auto value = int_field(object, name);
  return value ? std::to_string(*value) : "";
}

void print_names(const char* title, const json& names) {
  for (const auto& name : names) {
    if (name.is_string()) std::printf("%s %s\n", title, printable(name.get<std::string>()).c_str());
  }
}

Answer<Config> load(const std::string& file) {
  auto config = load_config(file, process_environment());
  if (config) return std::move(*config);
  if (config.error().size() == 1) return complaint(ExitStatus::usage, to_string(config.error().front()));
  Complaint wrong;
  wrong.text = file + ": " + std::to_string(config.error().size()) + " errors";
  for (const auto& error : config.error()) wrong.details.push_back(to_string(error));
  return std::unexpected(std::move(wrong));
}

Answer<std::string> file_or_default(const std::string& file) {
  if (!file.empty()) return file;
  if (auto found = find_config(process_environment())) return std::move(*found);
  return complaint(ExitStatus::no_such_thing,
                   "no configuration in ./config/memory.yaml, $XDG_CONFIG_HOME/kurultai/ or /etc/kurultai/; "
                   "name the file");
}

}  // namespace

Answer<ExitStatus> drain(Http& http, Duration timeout, bool as_json) {
  const auto body =
      post(http, "/v1/drain?wait=" + to_string(timeout), "", timeout + std::chrono::seconds(30));
  if (!body) return std::unexpected(body.error());
  const auto statistics = parse_answer(*body);
  if (!statistics) return std::unexpected(statistics.error());
  const auto seconds = number_field(*statistics, "durationSeconds");
  const std::string text =
      facts({{"status", text_field(*statistics, "status")},
             {"initial", number(*statistics, "initial")},
             {"completed", number(*statistics, "completed")},
             {"remaining", number(*statistics, "remaining")},
             {"took", seconds ? brief(Duration(static_cast<std::int64_t>(*seconds * 1000))) : ""}});
  std::fputs(as_json ? (*body + "\n").c_str() : text.c_str(), stdout);
  return int_field(*statistics, "remaining").value_or(0) > 0 ? ExitStatus::timed_out : ExitStatus::done;
}

Answer<ExitStatus> reload(Http& http, bool as_json) {
  const auto body = post(http, "/v1/reload", "");
  if (!body) return std::unexpected(body.error());
  const auto changes = parse_answer(*body);
  if (!changes) return std::unexpected(changes.error());
  if (as_json) {
    std::printf("%s\n", body->c_str());
    return ExitStatus::done;
  }
  const json& live = field(*changes, "live");
  const json& later = field(*changes, "needsRestart");
  if (live.empty() && later.empty()) std::printf("nothing has changed\n");
  print_names("now in effect:", live);
  print_names("needs a restart:", later);
  return ExitStatus::done;
}

Answer<ExitStatus> config_check(const std::string& file) {
  const auto path = file_or_default(file);
  if (!path) return std::unexpected(path.error());
  const auto config = load(*path);
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
  const auto config = load(file);
  if (!config) return std::unexpected(config.error());
  std::printf("%s\n", (as_json ? config_to_json(*config) : config_to_yaml(*config)).c_str());
  return ExitStatus::done;
}

Answer<ExitStatus> config_schema_text() {
  std::printf("%s\n", config_schema().c_str());
  return ExitStatus::done;
}

}  // namespace kurultai
