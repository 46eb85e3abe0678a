// `GET /v1/tasks/{id}/result`: of any size, whole or in part, a piece at a time.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "supervisor/gateway/byte_range.h"
#include "supervisor/gateway/gateway.h"

namespace kurultai {

using nlohmann::json;

/// Somebody who reads the result of a task that is still running.
struct Gateway::ResultFollower {
  ResultFollower(uv::Loop& loop, std::shared_ptr<Exchange> reader, std::string task,
                 std::function<void()> look)
      : exchange(std::move(reader)), task_id(std::move(task)), timer(loop, std::move(look)) {}
  std::shared_ptr<Exchange> exchange;
  std::string task_id;
  std::string attempt;  // whose result it is that was sent
  std::int64_t sent = 0;
  uv::Timer timer;
};

namespace {

constexpr Duration look_again{100};
constexpr std::size_t file_piece = 256 * 1024;

std::string content_range(const ByteRange& part, std::int64_t size) {
  return "bytes " + std::to_string(part.first) + "-" + std::to_string(part.first + part.length - 1) + "/" +
         std::to_string(size);
}

/// A text is given as itself, not as JSON.
std::string shown_text(const JsonText& kept) {
  return kept.starts_with('"') ? json::parse(kept).get<std::string>() : kept;
}

}  // namespace

void Gateway::get_result(const std::shared_ptr<Exchange>& exchange, const std::string& id) {
  const Task* task = dispatcher_.tasks().find(id);
  if (task == nullptr) return respond_error(*exchange, 404, "not_found", "there is no task " + id);
  const HttpRequest& request = exchange->request();
  const std::string follow = request.parameter("follow").value_or("0");
  if (follow != "0" && follow != "1") return respond_error(*exchange, 400, "invalid_task", "follow: 1, or 0");
  if (!is_final(task->state)) {
    if (follow == "1") return follow_result(exchange, id);
    return respond_error(*exchange, 404, "not_found",
                         "task " + id + " is " + std::string(to_string(task->state)) +
                             ": it has no result yet; ?follow=1 gives it as it comes");
  }
  const std::string tag = "\"" + id + "\"";  // a result never changes
  Headers headers = {{"Content-Disposition", "attachment; filename=\"" + id + "\""},
                     {"X-Content-Type-Options", "nosniff"},
                     {"Accept-Ranges", "bytes"},
                     {"ETag", tag}};
  const bool in_file = !task->result.file.empty();
  const JsonText& kept = task->result.inline_json;
  const bool is_text = kept.empty() || kept.starts_with('"');
  std::string text = shown_text(kept);
  const std::string_view type = in_file   ? "application/octet-stream"
                                : is_text ? "text/plain; charset=utf-8"
                                          : "application/json";
  const std::int64_t size = in_file ? task->result.bytes : static_cast<std::int64_t>(text.size());
  const bool same = request.header("if-range").empty() || request.header("if-range") == tag;
  const AskedRange asked = asked_range(same ? request.header("range") : std::string_view(), size);
  if (asked.answer == RangeAnswer::unsatisfiable) {
    const std::string all = "bytes */" + std::to_string(size);
    const std::string why = error_json("invalid_range", "the result has " + std::to_string(size) + " bytes");
    return exchange->respond(416, "application/json", why + "\n", {{"Content-Range", all}});
  }
  const bool is_part = asked.answer == RangeAnswer::part;
  const ByteRange part = is_part ? asked.part : ByteRange{0, size};
  if (is_part) headers.emplace_back("Content-Range", content_range(part, size));
  const int status = is_part ? 206 : 200;
  if (!in_file) {
    text = text.substr(static_cast<std::size_t>(part.first), static_cast<std::size_t>(part.length));
    return exchange->respond(status, type, std::move(text), headers);
  }
  exchange->begin(status, type, headers, part.length);
  send_file(exchange, task->result.file, part.first, part.length);
}

void Gateway::follow_result(const std::shared_ptr<Exchange>& exchange, const std::string& id) {
  exchange->begin(200, "application/octet-stream",
                  {{"Content-Disposition", "attachment; filename=\"" + id + "\""},
                   {"X-Content-Type-Options", "nosniff"}});
  // Its timer must not keep it: it goes with its reader.
  const auto weak = std::make_shared<std::weak_ptr<ResultFollower>>();
  const auto follower = std::make_shared<ResultFollower>(loop_, exchange, id, [this, weak] {
    if (const auto still = weak->lock()) feed_result(still);
  });
  *weak = follower;
  result_followers_.push_back(follower);
  exchange->on_gone([this, guard = std::weak_ptr(alive_), gone = std::weak_ptr(follower)] {
    if (!guard.expired()) std::erase(result_followers_, gone.lock());
  });
  feed_result(follower);
}

void Gateway::feed_result(const std::shared_ptr<ResultFollower>& follower) {
  const Task* task = dispatcher_.tasks().find(follower->task_id);
  const auto partial = dispatcher_.partial_result(follower->task_id);
  const auto leave = [&] { std::erase(result_followers_, follower); };
  if (!follower->exchange->is_open()) return leave();
  // What was sent is no part of the result that there will be: the reader sees a broken answer, not a short
  // one.
  const auto break_off = [&] {
    follower->exchange->abort();
    leave();
  };
  const std::string attempt = task == nullptr ? "" : dispatcher_.result_file(*task);
  if (follower->sent > 0 && follower->attempt != attempt) return break_off();
  if (is_final(task->state)) {
    const TaskResult& result = task->result;
    const std::string text = shown_text(result.inline_json);
    const auto size = result.file.empty() ? static_cast<std::int64_t>(text.size()) : result.bytes;
    if (size < follower->sent) return break_off();
    if (!result.file.empty()) {
      send_file(follower->exchange, result.file, follower->sent, size - follower->sent);
    } else {
      follower->exchange->write(text.substr(static_cast<std::size_t>(follower->sent)));
      follower->exchange->end();
    }
    return leave();
  }
  follower->attempt = attempt;
  if (!partial || partial->file.empty()) {
    const std::string_view text = partial ? partial->text : std::string_view();
    const auto sent = static_cast<std::size_t>(follower->sent);
    if (text.size() > sent) {
      follower->exchange->write(std::string(text.substr(sent)));
      follower->sent = static_cast<std::int64_t>(text.size());
    }
    return follower->timer.start(look_again);
  }
  read_file(loop_, partial->file, follower->sent, file_piece,
            [this, guard = std::weak_ptr(alive_), follower](Result<std::string> piece) {
              if (guard.expired() || !follower->exchange->is_open()) return;
              // Not there yet, or no more than was read: later.
              if (!piece || piece->empty()) return follower->timer.start(look_again);
              follower->sent += static_cast<std::int64_t>(piece->size());
              follower->exchange->write(std::move(*piece));
              follower->exchange->when_written([this, guard, follower] {
                if (!guard.expired()) feed_result(follower);
              });
            });
}

// One piece at a time: the next is read when the client has taken this one.
void Gateway::send_file(const std::shared_ptr<Exchange>& exchange, const std::string& path,
                        std::int64_t offset, std::int64_t left) {
  if (left == 0) return exchange->end();
  const auto length = static_cast<std::size_t>(std::min(left, static_cast<std::int64_t>(file_piece)));
  read_file(loop_, path, offset, length,
            [this, guard = std::weak_ptr(alive_), exchange, path, offset, left](Result<std::string> piece) {
              if (guard.expired() || !exchange->is_open()) return;
              if (!piece || piece->empty()) return exchange->abort();
              const auto count = static_cast<std::int64_t>(piece->size());
              exchange->write(std::move(*piece));
              exchange->when_written([this, guard, exchange, path, offset, left, count] {
                if (!guard.expired()) send_file(exchange, path, offset + count, left - count);
              });
            });
}

}  // namespace kurultai
