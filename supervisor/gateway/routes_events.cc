// `GET /v1/events`.
#include <charconv>

#include "supervisor/gateway/gateway.h"

namespace kurultai {

namespace {

/// The header, which browsers send when they come back; in the query for those that cannot set it. Absent:
/// only what happens from now on.
Result<std::optional<std::uint64_t>> place_of(const HttpRequest& request) {
  std::string text(request.header("last-event-id"));
  if (text.empty()) text = request.parameter("lastEventId").value_or("");
  if (text.empty()) return std::optional<std::uint64_t>();
  std::uint64_t id = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, id);
  if (error != std::errc{} || rest != end)
    return failure("Last-Event-ID: must be the id of an event, or 0 for all that are remembered");
  return id;
}

}  // namespace

void Gateway::get_events(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const auto after = place_of(exchange->request());
  if (!after) return respond_error(*exchange, 400, "invalid_task", after.error().message);
  const auto types = parse_event_types(exchange->request().parameter("types").value_or(""));
  if (!types) return respond_error(*exchange, 400, "invalid_task", types.error().message);
  const auto parameter = [&](const char* name) { return exchange->request().parameter(name).value_or(""); };
  EventStreams::Wish wish{{parameter("taskId"), parameter("agent"), *types}, *after};
  const std::string& agent = wish.filter.agent;
  if (!agent.empty() && agent != command_agent && refuse_unknown_agent(*exchange, agent)) return;
  if (exchange->request().query.contains("taskId")) {
    const Task* task = dispatcher_.tasks().find(wish.filter.task_id);
    if (task == nullptr)
      return respond_error(*exchange, 404, "not_found", "there is no task " + wish.filter.task_id);
    wish.is_over = is_final(task->state);
  }
  // To a browser this says that it need not come back.
  if (wish.is_over && !(wish.after && event_streams_.remembers(*wish.after, wish.filter)))
    return exchange->respond(204, "", "");
  if (!event_streams_.has_room()) {
    return respond_error(*exchange, 503, "too_many_readers", "too many clients follow the events already",
                         std::chrono::seconds(5));
  }
  event_streams_.open(exchange, std::move(wish));
}

}  // namespace kurultai
