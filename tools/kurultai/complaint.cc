#include "tools/kurultai/complaint.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

ExitStatus status_of(int http_status, std::string_view code) {
  if (code == "unknown_agent" || code == "already_finished") return ExitStatus::no_such_thing;
  switch (http_status) {
    case 404:
    case 410:
      return ExitStatus::no_such_thing;
    case 429:
      return ExitStatus::no_room;
    default:
      return http_status >= 500 ? ExitStatus::refused : ExitStatus::usage;
  }
}

std::string next_step(std::string_view code, std::string_view message, std::chrono::seconds retry_after) {
  if (code == "unauthorized") return "; give that file with --token-file";
  if (retry_after.count() > 0) return "; try again in " + std::to_string(retry_after.count()) + " s";
  if (message.find("; ") != std::string_view::npos) return "";  // it says so itself
  if (code == "unknown_agent") return "; `kurultai agents` lists them";
  if (code == "not_found") return "; `kurultai ps -a` lists the tasks";
  return "";
}

}  // namespace

std::unexpected<Complaint> complaint(ExitStatus status, std::string text) {
  return std::unexpected(Complaint{status, std::move(text), {}, {}});
}

Complaint refusal(int http_status, std::string_view body) {
  const auto answer = parse_json(body);
  const nlohmann::json& error = answer ? field(*answer, "error") : nothing();
  const std::string code = text_field(error, "code");
  Complaint out;
  out.status = status_of(http_status, code);
  out.text = text_field(error, "message");
  if (out.text.empty()) out.text = "the supervisor answered HTTP " + std::to_string(http_status);
  out.retry_after =
      std::chrono::seconds(std::max<std::int64_t>(0, int_field(error, "retryAfter").value_or(0)));
  out.text += next_step(code, out.text, out.retry_after);
  for (const auto& line : field(error, "details")) {
    if (line.is_string()) out.details.push_back(line.get<std::string>());
  }
  return out;
}

int complain(std::string_view doing, const Complaint& complaint) {
  const std::string prefix = doing.empty() ? "" : printable(doing) + ": ";
  std::fprintf(stderr, "kurultai: %s%s\n", prefix.c_str(), printable(complaint.text).c_str());
  for (const auto& line : complaint.details) std::fprintf(stderr, "%s\n", printable(line).c_str());
  return to_int(complaint.status);
}

}  // namespace kurultai
