// Commands of the operator: drain, reload.
#include <cstdio>
#include <nlohmann/json.hpp>

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

struct DrainOptions {
  Duration timeout{std::chrono::seconds(30)};
  bool json = false;
};

void add_drain(Commands& commands) {
  auto& options = commands.keep<DrainOptions>();
  Command command =
      commands.add("drain", "take no more tasks, wait for those that run, and end the supervisor",
                   "kurultai drain --timeout 2m");
  const auto take = [&options](const std::string& text) -> std::optional<std::string> {
    const auto duration = parse_duration(text);
    if (!duration) return duration.error().message;
    options.timeout = *duration;
    return std::nullopt;
  };
  command.option("--timeout", take, "TIME",
                 "wait at most so long (30s); with 0s tasks that run are preempted at once");
  command.json_flag(options.json);
  command.asks("drain", [&options](Http& http) { return drain(http, options.timeout, options.json); });
}

void add_reload(Commands& commands) {
  auto& as_json = commands.keep<bool>();
  Command command = commands.add("reload", "read the configuration again", "kurultai reload");
  command.json_flag(as_json);
  command.asks("reload", [&as_json](Http& http) { return reload(http, as_json); });
}

}  // namespace

void add_administration(Commands& commands) {
  add_drain(commands);
  add_reload(commands);
}

}  // namespace kurultai
