// `GET /v1/tasks/{id}/logs`: what is kept of it, or with `follow=1` all that comes until the task has ended.
// A piece at a time: the next is read when the client has taken this one, so that a slow one misses the
// oldest lines, as the log itself drops them.
#include <algorithm>
#include <utility>

#include "supervisor/gateway/gateway.h"

namespace kurultai {

namespace {

constexpr std::size_t log_piece = 32 * 1024;  // of each reader, in memory
constexpr std::string_view log_type = "text/plain; charset=utf-8";

Headers headers_of(const std::string& id) {
  return {{"Content-Disposition", "attachment; filename=\"" + id + ".log\""},
          {"X-Content-Type-Options", "nosniff"}};
}

}  // namespace

struct Gateway::LogReader {
  std::shared_ptr<Exchange> exchange;
  std::string task_id;
  bool follows = false;
  bool begun = false;      // its answer
  bool busy = false;       // a piece is being read, or on its way to the client
  bool has_grown = false;  // meanwhile
  std::uint64_t at = 0;
};

void Gateway::get_logs(const std::shared_ptr<Exchange>& exchange, const std::string& id) {
  const Task* task = dispatcher_.tasks().find(id);
  if (task == nullptr) return respond_error(*exchange, 404, "not_found", "there is no task " + id);
  const std::string wish = exchange->request().parameter("follow").value_or("0");
  if (wish != "0" && wish != "1")
    return respond_error(*exchange, 400, "invalid_task", "follow: must be 0 or 1");
  const bool follows = wish == "1" && !is_final(task->state);
  if (!follows && task->log_bytes == 0) return exchange->respond(200, log_type, "", headers_of(id));
  if (follows) exchange->begin(200, log_type, headers_of(id));
  const auto reader = std::make_shared<LogReader>(LogReader{exchange, id, follows, follows});
  log_readers_[id].push_back(reader);
  exchange->on_gone([this, guard = std::weak_ptr(alive_), id, gone = std::weak_ptr(reader)] {
    if (!guard.expired()) leave_log(id, gone.lock());
  });
  feed_log(reader);
}

void Gateway::leave_log(const std::string& id, const std::shared_ptr<LogReader>& reader) {
  const auto found = log_readers_.find(id);
  if (found == log_readers_.end()) return;
  std::erase(found->second, reader);
  if (found->second.empty()) log_readers_.erase(found);
}

void Gateway::feed_log(const Task& task) {
  const auto found = log_readers_.find(task.id);
  if (found == log_readers_.end()) return;
  const auto readers = found->second;  // who is told all leaves
  for (const auto& reader : readers) feed_log(reader);
}

void Gateway::feed_log(const std::shared_ptr<LogReader>& reader) {
  if (!reader->exchange->is_open()) return leave_log(reader->task_id, reader);
  reader->has_grown = true;
  if (reader->busy) return;
  reader->busy = true;
  reader->has_grown = false;
  const Task* task = dispatcher_.tasks().find(reader->task_id);
  // Nothing comes behind what is read from now on, or nothing that was asked for.
  const bool is_last = !reader->follows || task == nullptr || is_final(task->state);
  dispatcher_.logs().read(reader->task_id, reader->at, log_piece,
                          [this, guard = std::weak_ptr(alive_), reader, is_last](LogPiece piece) {
                            if (guard.expired() || !reader->exchange->is_open()) return;
                            const bool is_end = is_last && piece.is_all;
                            send_log(reader, std::move(piece), is_end);
                          });
}

void Gateway::send_log(const std::shared_ptr<LogReader>& reader, LogPiece piece, bool is_end) {
  Exchange& exchange = *reader->exchange;
  reader->at = piece.next;
  if (!reader->begun && is_end) {
    exchange.respond(200, log_type, std::move(piece.text), headers_of(reader->task_id));
    return leave_log(reader->task_id, reader);
  }
  if (!std::exchange(reader->begun, true)) exchange.begin(200, log_type, headers_of(reader->task_id));
  const bool is_all = piece.is_all;
  const bool is_empty = piece.text.empty();
  if (!is_empty) exchange.write(std::move(piece.text));
  if (is_end) {
    exchange.end();
    return leave_log(reader->task_id, reader);
  }
  const auto go_on = [this, reader, is_all] {
    reader->busy = false;
    if (!is_all || reader->has_grown) feed_log(reader);
  };
  if (is_empty) return go_on();
  exchange.when_written([guard = std::weak_ptr(alive_), go_on] {
    if (!guard.expired()) go_on();
  });
}

}  // namespace kurultai
