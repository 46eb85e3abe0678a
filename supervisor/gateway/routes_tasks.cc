// Routes about tasks.
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "protocol/json_text.h"
#include "supervisor/gateway/gateway.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr Duration longest_wait = std::chrono::hours(1);
constexpr std::size_t default_page = 100;
constexpr std::size_t largest_page = 1000;
constexpr int most_retries = 1000;
constexpr std::size_t longest_key = 256;
constexpr std::size_t longest_size_class = 64;

/// Of a task that may be gone by now.
bool has_form_of_id(std::string_view text) {
  return text.size() == 16 &&
         text.find_first_not_of("0123456789abcdefghjkmnpqrstvwxyz") == std::string_view::npos;
}

int status_of(Refusal::Code code) {
  switch (code) {
    case Refusal::Code::queue_full:
      return 429;
    case Refusal::Code::memory_pressure:
    case Refusal::Code::circuit_open:
    case Refusal::Code::draining:
    case Refusal::Code::storage_unavailable:
      return 503;
    case Refusal::Code::invalid_task:
    case Refusal::Code::unknown_agent:
      return 422;
    case Refusal::Code::key_conflict:
      return 409;
  }
  return 422;
}

Result<void> read_field(const std::string& name, const json& value, Submission& to) {
  auto wrong = [&name](std::string_view needs) {
    return failure("'" + name + "' must be " + std::string(needs));
  };
  if (name == "agent") {
    if (!value.is_string()) return wrong("the name of an agent");
    to.agent = value.get<std::string>();
  } else if (name == "payload") {
    if (!value.is_null()) to.payload = to_text(value);
  } else if (name == "priority") {
    to.priority = value.is_string()
                      ? parse_priority(value.get<std::string>())
                      : (value.is_number_integer() ? parse_priority(value.dump()) : std::nullopt);
    if (!to.priority) return wrong("critical, high, normal, low or heartbeat");
  } else if (name == "timeout") {
    const auto timeout = value.is_string() ? parse_duration(value.get<std::string>()) : failure("");
    if (!timeout || timeout->count() <= 0) return wrong("a duration such as \"10m\"");
    to.timeout = *timeout;
  } else if (name == "retries") {
    const bool good = value.is_number_integer() && value.get<std::int64_t>() >= 0 &&
                      value.get<std::int64_t>() <= most_retries;
    if (!good) return wrong("a number from 0 to " + std::to_string(most_retries));
    to.retries = value.get<int>();
  } else if (name == "idempotencyKey") {
    if (!value.is_string() || value.get_ref<const std::string&>().size() > longest_key)
      return wrong("a text of at most 256 bytes");
    to.idempotency_key = value.get<std::string>();
  } else if (name == "sizeClass") {
    const std::size_t size = value.is_string() ? value.get_ref<const std::string&>().size() : 0;
    if (size < 1 || size > longest_size_class) return wrong("a text of 1 to 64 bytes");
    to.size_class = value.get<std::string>();
  } else {
    return failure("there is no field '" + name + "'");
  }
  return {};
}

}  // namespace

Result<Submission> read_submission(const json& body) {
  if (!body.is_object()) return failure("the body must be a JSON object");
  Submission submission;
  for (const auto& [name, value] : body.items()) {
    if (auto read = read_field(name, value, submission); !read) return std::unexpected(read.error());
  }
  if (submission.agent.empty()) return failure("'agent' is missing");
  return submission;
}

Result<std::optional<Wait>> wait_of(const HttpRequest& request) {
  const auto text = request.parameter("wait");
  const auto then = request.parameter("onDisconnect");
  if (then && !text) return failure("onDisconnect: says what becomes of a task that 'wait' waits for");
  if (then && *then != "cancel" && *then != "continue") return failure("onDisconnect: cancel or continue");
  if (!text) return std::optional<Wait>();
  const auto wait = parse_duration(*text);
  if (!wait) return failure("wait: " + wait.error().message);
  return Wait{std::min(*wait, longest_wait), then == "cancel"};
}

Result<std::size_t> limit_of(const HttpRequest& request, std::size_t usual) {
  const auto text = request.parameter("limit");
  if (!text) return usual;
  std::size_t limit = 0;
  const char* const end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, limit);
  if (error == std::errc{} && rest == end && limit > 0 && limit <= largest_page) return limit;
  return failure("limit: a number from 1 to " + std::to_string(largest_page));
}

std::string accepted_json(const Task& task, const TaskQueue& queue) {
  json answer = {{"taskId", task.id}, {"state", to_string(task.state)}};
  if (const auto position = queue.position(task.id)) answer["position"] = *position;
  return to_text(answer);
}

void Gateway::post_task(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const HttpRequest& request = exchange->request();
  const auto wait = wait_of(request);
  if (!wait) return respond_error(*exchange, 400, "invalid_task", wait.error().message);
  if (is_payload(request)) return post_payload(exchange, *wait);
  if (request.query.size() > request.query.count("wait") + request.query.count("onDisconnect")) {
    return respond_error(
        *exchange, 400, "invalid_task",
        "a task in JSON has its fields in the body; in the query there are only 'wait' and 'onDisconnect'");
  }
  const auto body = parse_json(request.body);
  if (!body) return respond_error(*exchange, 400, "invalid_json", body.error().message);
  auto submission = read_submission(*body);
  if (!submission) return respond_error(*exchange, 422, "invalid_task", submission.error().message);
  dispatcher_.submit(std::move(*submission), [this, guard = std::weak_ptr(alive_), exchange,
                                              wait = *wait](const std::expected<const Task*, Refusal>& task) {
    if (!guard.expired()) answer_submission(exchange, task, wait);
  });
}

void Gateway::answer_submission(const std::shared_ptr<Exchange>& exchange,
                                const std::expected<const Task*, Refusal>& task, std::optional<Wait> wait) {
  if (!exchange->is_open()) {
    if (task && wait && wait->cancels) stop_waiting((*task)->id, exchange.get(), true);
    return;
  }
  if (!task) {
    const Refusal& refusal = task.error();
    return respond_error(*exchange, status_of(refusal.code), to_string(refusal.code), refusal.message,
                         refusal.retry_after);
  }
  if (wait) return wait_for(**task, exchange, *wait, to_json);
  respond_json(*exchange, 202, accepted_json(**task, dispatcher_.queue()));
}

void Gateway::wait_for(const Task& task, const std::shared_ptr<Exchange>& exchange, Wait wait, Shown shown) {
  if (is_final(task.state)) return respond_json(*exchange, 200, shown(task));
  auto timer = std::make_unique<uv::Timer>(loop_, [this, exchange, shown, id = task.id] {
    if (const Task* waited = dispatcher_.tasks().find(id)) respond_json(*exchange, 202, shown(*waited));
    auto& list = waiters_[id];
    std::erase_if(list, [&](const Waiter& waiter) { return waiter.exchange == exchange; });
    if (list.empty()) waiters_.erase(id);
  });
  timer->start(wait.limit);
  waiters_[task.id].push_back({exchange, std::move(timer), shown});
  exchange->on_gone([this, guard = std::weak_ptr(alive_), id = task.id, gone = exchange.get(), wait] {
    if (!guard.expired()) stop_waiting(id, gone, wait.cancels);
  });
}

/// It is cancelled only where nobody else waits for it (the same key is the same task), and not where it is
/// us who go.
void Gateway::stop_waiting(const std::string& id, const Exchange* gone, bool cancels) {
  if (const auto found = waiters_.find(id); found != waiters_.end()) {
    std::erase_if(found->second, [gone](const Waiter& waiter) { return waiter.exchange.get() == gone; });
    if (!found->second.empty()) return;
    waiters_.erase(found);
  }
  const auto awaits_it = [&id](const auto& batch) { return batch->awaited.contains(id); };
  if (std::ranges::any_of(waiting_batches_, awaits_it)) return;
  if (cancels && socket_ != nullptr) dispatcher_.cancel(id, "whoever waited for it has gone");
}

void Gateway::list_tasks(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const HttpRequest& request = exchange->request();
  std::set<TaskState> states;
  std::string_view wanted = request.query.contains("state") ? request.query.at("state") : std::string_view();
  while (!wanted.empty()) {
    const std::string_view word = wanted.substr(0, wanted.find(','));
    wanted.remove_prefix(std::min(word.size() + 1, wanted.size()));
    const auto state = parse_task_state(word);
    if (!state)
      return respond_error(
          *exchange, 400, "invalid_task",
          "state: there is no '" + std::string(word) +
              "'; there are queued, running, suspended, completed, failed, cancelled, evicted");
    states.insert(*state);
  }
  const auto limit = limit_of(request, default_page);
  if (!limit) return respond_error(*exchange, 400, "invalid_task", limit.error().message);
  const std::string order = request.parameter("order").value_or("oldest");
  if (order != "oldest" && order != "newest")
    return respond_error(*exchange, 400, "invalid_task", "order: oldest or newest first");
  const std::string after = request.parameter("after").value_or("");
  if (!after.empty() && !has_form_of_id(after))
    return respond_error(*exchange, 400, "invalid_task", "after: must be the `next` of a page");
  const std::string agent = request.parameter("agent").value_or("");
  const auto is_wanted = [&](const Task& task) {
    return task.accepted && (states.empty() || states.contains(task.state)) &&
           (agent.empty() || agent == task.agent);
  };
  const auto found = dispatcher_.tasks().list(
      after, *limit, is_wanted,
      order == "newest" ? TaskTable::Order::newest_first : TaskTable::Order::oldest_first);
  std::string text = "{\"tasks\":[";
  for (const Task* task : found) text += (task == found.front() ? "" : ",") + to_json(*task);
  text +=
      "],\"next\":" + (found.size() == *limit ? "\"" + found.back()->id + "\"" : std::string("null")) + "}";
  respond_json(*exchange, 200, std::move(text));
}

void Gateway::get_task(const std::shared_ptr<Exchange>& exchange, const std::string& id) {
  const Task* task = dispatcher_.tasks().find(id);
  if (task == nullptr) return respond_error(*exchange, 404, "not_found", "there is no task " + id);
  const auto wait = wait_of(exchange->request());
  if (!wait) return respond_error(*exchange, 400, "invalid_task", wait.error().message);
  if (*wait) return wait_for(*task, exchange, **wait, to_json_with_history);
  respond_json(*exchange, 200, to_json_with_history(*task));
}

void Gateway::delete_task(const std::shared_ptr<Exchange>& exchange, const std::string& id) {
  const Task* task = dispatcher_.tasks().find(id);
  switch (dispatcher_.cancel(id, "cancelled by a client")) {
    case CancelAnswer::not_found:
      return respond_error(*exchange, 404, "not_found", "there is no task " + id);
    case CancelAnswer::already_finished:
      return respond_error(
          *exchange, 409, "already_finished",
          "task " + id + " is already " + std::string(to_string(task->ends_as.value_or(task->state))));
    case CancelAnswer::accepted:
      break;
  }
  dispatcher_.when_kept(id, [guard = std::weak_ptr(alive_), exchange, id](const Task* kept) {
    if (guard.expired() || !exchange->is_open()) return;
    if (kept == nullptr) return respond_error(*exchange, 404, "not_found", "there is no task " + id);
    respond_json(*exchange, 202, to_json(*kept));
  });
}

}  // namespace kurultai
