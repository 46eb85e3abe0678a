// `GET /v1/tasks/{id}/result`: of any size, whole or in part, a piece at a time.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "supervisor/gateway/byte_range.h"
#include "supervisor/gateway/gateway.h"

namespace kurultai {

using nlohmann::json;

namespace {

constexpr std::size_t file_piece = 256 * 1024;

std::string content_range(const ByteRange& part, std::int64_t size) {
  return "bytes " + std::to_string(part.first) + "-" + std::to_string(part.first + part.length - 1) + "/" +
         std::to_string(size);
}

}  // namespace

void Gateway::get_result(const std::shared_ptr<Exchange>& exchange, const std::string& id) {
  const Task* task = dispatcher_.tasks().find(id);
  if (task == nullptr) return respond_error(*exchange, 404, "not_found", "there is no task " + id);
  if (!is_final(task->state)) {
    return respond_error(
        *exchange, 404, "not_found",
        "task " + id + " is " + std::string(to_string(task->state)) + ": it has no result yet");
  }
  const HttpRequest& request = exchange->request();
  const std::string tag = "\"" + id + "\"";  // a result never changes
  Headers headers = {{"Content-Disposition", "attachment; filename=\"" + id + "\""},
                     {"X-Content-Type-Options", "nosniff"},
                     {"Accept-Ranges", "bytes"},
                     {"ETag", tag}};
  const bool in_file = !task->result.file.empty();
  const JsonText& kept = task->result.inline_json;
  const bool is_text = kept.empty() || kept.starts_with('"');  // a text is given as itself, not as JSON
  std::string text = in_file || !is_text || kept.empty() ? kept : json::parse(kept).get<std::string>();
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
