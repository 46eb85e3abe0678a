// `why`: the receipt of a task.
#include <nlohmann/json.hpp>

#include "tools/kurultai/commands.h"
#include "tools/kurultai/receipt_text.h"
#include "tools/kurultai/supervisor.h"

namespace kurultai {
namespace {

struct WhyOptions {
  std::string id;
  bool json = false;
};

}  // namespace

void add_why(Commands& commands) {
  auto& options = commands.keep<WhyOptions>();
  Command command =
      commands.add("why", "its receipt: what decided over a task, on which figures", "kurultai why 8f3a");
  command.argument("id", options.id, "ID", "the task's id");
  command.json_flag(options.json);
  command.asks([&options] { return "why " + options.id; },
               [&options](Http& http) {
                 return show(http, task_path(options.id) + "/why", options.json, receipt_text);
               });
}

}  // namespace kurultai
