// `why`: the receipt of a task.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/kurultai/commands.h"
#include "tools/kurultai/receipt_text.h"
#include "tools/kurultai/supervisor.h"

namespace kurultai {

Answer<ExitStatus> show_why(Http& http, const std::string& id, bool as_json) {
  const auto body = get(http, task_path(id) + "/why");
  if (!body) return std::unexpected(body.error());
  const auto object = parse_answer(*body);
  if (!object) return std::unexpected(object.error());
  std::fputs(as_json ? (*body + "\n").c_str() : receipt_text(*object).c_str(), stdout);
  return ExitStatus::done;
}

}  // namespace kurultai
