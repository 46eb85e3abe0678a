// `POST /v1/tasks` whose body is the payload itself: bytes of any kind that go to a file as they come, with
// the task's fields in the query.
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "supervisor/gateway/gateway.h"
#include "supervisor/gateway/request_rules.h"
#include "supervisor/store/upload.h"

namespace kurultai {

using nlohmann::json;

namespace {

/// Each has up to half a megabyte of memory while its disk is behind.
constexpr std::size_t most_uploads = 16;

Result<Submission> read_query_submission(const HttpRequest& request) {
  json fields = json::object();
  for (const auto& [name, text] : request.query) {
    if (name == "wait" || name == "onDisconnect") continue;
    fields[name] = text;
    int number = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    if (name == "retries" && error == std::errc() && rest == end) fields[name] = number;
  }
  return read_submission(fields);
}

/// 0: it is not told beforehand.
std::int64_t length_of(const HttpRequest& request) {
  const std::string_view text = request.header("content-length");
  std::int64_t length = 0;
  std::from_chars(text.data(), text.data() + text.size(), length);
  return length;
}

}  // namespace

bool is_payload(const HttpRequest& request) {
  const std::string_view type = request.header("content-type");
  std::string media(type.substr(0, type.find(';')));
  while (media.ends_with(' ')) media.pop_back();
  // curl names a form when it is told nothing: with the agent in the body that was meant as JSON.
  return request.method == "POST" && request.path == "/v1/tasks" && request.query.contains("agent") &&
         !media.empty() && lower_case(std::move(media)) != "application/json";
}

/// What can be refused is refused before the body has come.
BodyPlan Gateway::plan_payload(const HttpRequest& request) {
  if (!is_payload(request)) return {};
  auto submission = read_query_submission(request);
  if (submission) submission->payload_file.bytes = length_of(request);
  std::erase_if(uploads_, [](const auto& upload) { return upload.expired(); });
  if (!submission || dispatcher_.would_refuse(*submission) || uploads_.size() >= most_uploads)
    return {BodyPlan::Kind::refuse};
  const auto now = std::chrono::duration_cast<Duration>(loop_.wall_now().time_since_epoch()).count();
  const std::string name = std::to_string(now) + "-" + std::to_string(++payloads_);
  const auto upload = std::make_shared<Upload>(loop_, settings_.payloads + "/" + name,
                                               dispatcher_.config().store.max_payload.count);
  uploads_.push_back(upload);
  return {BodyPlan::Kind::spool, upload};
}

void Gateway::post_payload(const std::shared_ptr<Exchange>& exchange, std::optional<Wait> wait) {
  auto submission = read_query_submission(exchange->request());
  if (!submission) return respond_error(*exchange, 422, "invalid_task", submission.error().message);
  submission->payload_file.bytes = length_of(exchange->request());
  const auto upload = exchange->request().upload;
  if (upload == nullptr) {
    if (const auto refusal = dispatcher_.turn_away(*submission))
      return answer_submission(exchange, std::unexpected(*refusal), wait);
    return respond_error(*exchange, 503, "storage_unavailable",
                         std::to_string(most_uploads) + " payloads are being received already",
                         std::chrono::seconds(1));
  }
  const auto& agents = dispatcher_.config().agents;
  const auto agent = agents.find(submission->agent);
  const bool durable = agent != agents.end() && agent->second.durability == Durability::full;
  upload->finish(durable, [this, guard = std::weak_ptr(alive_), exchange, upload, wait,
                           submission = *std::move(submission)](Result<PayloadFile> file) mutable {
    if (guard.expired() || !exchange->is_open()) return;
    if (!file) {
      return respond_error(*exchange, 503, "storage_unavailable",
                           "the payload cannot be written down: " + file.error().message,
                           std::chrono::seconds(1));
    }
    const std::string path = file->path;
    submission.payload_file = *std::move(file);
    dispatcher_.submit(std::move(submission), [this, guard, exchange, upload, wait,
                                               path](const std::expected<const Task*, Refusal>& task) {
      // Not so where the same key gave an earlier task.
      if (task && (*task)->payload_file.path == path) upload->keep();
      if (!guard.expired()) answer_submission(exchange, task, wait);
    });
  });
}

}  // namespace kurultai
