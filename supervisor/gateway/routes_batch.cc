// `POST /v1/tasks:batch`: many tasks in one request, each answered as if it had come alone.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "supervisor/gateway/gateway.h"

namespace kurultai {

namespace {

constexpr std::size_t largest_batch = 1000;
/// Of the finished tasks that one answer holds, which are kept for it while others go on. What comes after is
/// told by id and state alone.
constexpr std::size_t most_answer_bytes = std::size_t{8} << 20;

std::string joined(const std::vector<std::string>& answers) {
  std::string text = "[";
  for (const std::string& answer : answers) text += (text.size() > 1 ? "," : "") + answer;
  return text + "]";
}

}  // namespace

void Gateway::post_batch(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const HttpRequest& request = exchange->request();
  const auto wait = wait_of(request);
  if (!wait) return respond_error(*exchange, 400, "invalid_task", wait.error().message);
  const auto body = parse_json(request.body);
  if (!body) return respond_error(*exchange, 400, "invalid_json", body.error().message);
  if (!body->is_array() || body->size() > largest_batch) {
    return respond_error(*exchange, 422, "invalid_task",
                         "the body must be an array of at most " + std::to_string(largest_batch) + " tasks");
  }
  const auto batch = std::make_shared<Batch>(Batch{exchange, *wait, std::vector<std::string>(body->size())});
  std::vector<Submission> submissions;
  std::vector<std::size_t> places;
  for (std::size_t at = 0; at < body->size(); ++at) {
    if (auto submission = read_submission((*body)[at])) {
      submissions.push_back(std::move(*submission));
      places.push_back(at);
    } else {
      batch->answers[at] = error_json("invalid_task", submission.error().message);
    }
  }
  batch->unanswered = submissions.size();
  if (submissions.empty()) return respond_json(*exchange, 200, joined(batch->answers));
  if (*wait) wait_for(batch);
  dispatcher_.submit(std::move(submissions),
                     [this, guard = std::weak_ptr(alive_), batch, places](std::size_t at, const auto& task) {
                       if (!guard.expired()) answer_submission(batch, places[at], task);
                     });
}

void Gateway::answer_submission(const std::shared_ptr<Batch>& batch, std::size_t at,
                                const std::expected<const Task*, Refusal>& task) {
  std::string& answer = batch->answers[at];
  if (!task) {
    const Refusal& refusal = task.error();
    answer = error_json(to_string(refusal.code), refusal.message, refusal.retry_after);
  } else if (!batch->wait) {
    answer = accepted_json(**task, dispatcher_.queue());
  } else if (is_final((*task)->state)) {
    answer = awaited_answer(*batch, **task);
  } else {
    batch->awaited[(*task)->id].push_back(at);
  }
  if (--batch->unanswered > 0) return;
  if (!batch->awaited.empty()) return batch->timer->start(batch->wait->limit);
  std::erase(waiting_batches_, batch);
  respond_json(*batch->exchange, 200, joined(batch->answers));
}

std::string Gateway::awaited_answer(Batch& batch, const Task& task) const {
  std::string answer = to_json(task);
  if (batch.bytes + answer.size() > most_answer_bytes) answer = accepted_json(task, dispatcher_.queue());
  batch.bytes += answer.size();
  return answer;
}

void Gateway::wait_for(const std::shared_ptr<Batch>& batch) {
  batch->timer = std::make_unique<uv::Timer>(loop_, [this, waiting = batch.get()] {
    const auto found =
        std::ranges::find_if(waiting_batches_, [&](const auto& one) { return one.get() == waiting; });
    if (found == waiting_batches_.end()) return;
    const auto over = std::move(*found);
    waiting_batches_.erase(found);
    for (const auto& [id, places] : over->awaited) {
      const Task* task = dispatcher_.tasks().find(id);
      for (const std::size_t at : places) {
        over->answers[at] = task == nullptr ? error_json("not_found", "there is no task " + id)
                                            : awaited_answer(*over, *task);
      }
    }
    respond_json(*over->exchange, 200, joined(over->answers));
  });
  waiting_batches_.push_back(batch);
  batch->exchange->on_gone([this, guard = std::weak_ptr(alive_), gone = batch.get()] {
    if (guard.expired()) return;
    std::erase_if(waiting_batches_, [gone](const auto& one) { return one.get() == gone; });
  });
}

void Gateway::tell_batches(const Task& ended) {
  std::erase_if(waiting_batches_, [&](const std::shared_ptr<Batch>& batch) {
    const auto found = batch->awaited.extract(ended.id);
    if (found.empty()) return false;
    for (const std::size_t at : found.mapped()) batch->answers[at] = awaited_answer(*batch, ended);
    if (batch->unanswered > 0 || !batch->awaited.empty()) return false;
    respond_json(*batch->exchange, 200, joined(batch->answers));
    return true;
  });
}

}  // namespace kurultai
