#include "tools/kurultai/mcp/session.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "protocol/json_rpc.h"
#include "protocol/json_text.h"
#include "protocol/line_writer.h"
#include "tools/kurultai/fields.h"
#include "tools/kurultai/interrupts.h"
#include "tools/kurultai/mcp/message.h"
#include "tools/kurultai/mcp/output.h"

namespace kurultai {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr Duration one_turn{1000};
// Scripts send their requests, close, and read the answers. Clients that end a server so send SIGTERM after
// two seconds.
constexpr Duration to_answer{5000};
constexpr Duration to_cancel{2000};

constexpr std::int64_t rpc_too_many = -32000;  // of those that JSON-RPC leaves to servers

}  // namespace

bool Call::is_open() const { return session_->find(number_) != nullptr; }

void Call::result(const JsonText& result) const {
  session_->finish(number_, [&](const JsonText& id) { return rpc_answer(id, result); });
}

void Call::error(std::int64_t code, std::string_view message) const {
  session_->finish(number_, [&](const JsonText& id) { return rpc_refusal(id, code, message); });
}

void Call::error(const JsonText& error) const {
  session_->finish(number_, [&](const JsonText& id) { return rpc_refusal(id, error); });
}

bool Call::wants_progress() const {
  const auto* open = session_->find(number_);
  return open != nullptr && !open->progress_token.empty();
}

void Call::progress(const ProgressNote& note) const {
  const auto* open = session_->find(number_);
  if (open == nullptr || open->progress_token.empty()) return;
  LineWriter params;
  params.raw("progressToken", open->progress_token).real("progress", note.progress);
  if (note.total) params.real("total", *note.total);
  if (!note.message.empty()) params.text("message", note.message);
  session_->say(rpc_notification("notifications/progress", params.object()));
}

void Call::on_cancel(std::function<void()> cancel) const {
  if (auto* open = session_->find(number_)) open->cancel = std::move(cancel);
}

void Session::run() {
  while (!input_ended_ && !output_ended_ && Interrupts::count() == 0) turn(one_turn, true);
  const auto until = [this](Duration limit, const auto& done) {
    const auto deadline = steady_clock::now() + limit;
    const int signals = Interrupts::count();
    while (!done() && steady_clock::now() < deadline && Interrupts::count() == signals)
      turn(Duration(50), false);
  };
  if (Interrupts::count() == 0)
    until(to_answer, [this] { return open_.empty() || output_ended_ || client_has_gone(); });
  cancel_all();
  until(to_cancel, [this] { return !http_.busy(); });
}

void Session::turn(Duration at_most, bool with_input) {
  std::array<Watch, 1> watches = {Watch{STDIN_FILENO}};
  http_.turn(std::span(watches).first(with_input ? 1 : 0), at_most);
  if (with_input && watches[0].readable) read_input();
}

void Session::read_input() {
  std::array<char, 65536> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): 64 KiB of zeros a call
                                   // would cost more than reading it
  const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got > 0) return feed({buffer.data(), static_cast<std::size_t>(got)});
  input_ended_ = true;
  if (!lines_.rest().empty()) take_line(lines_.rest());
}

void Session::feed(std::string_view bytes) {
  lines_.feed(bytes, [this](const LineSplitter::Line& line) {
    if (line.kind == LineSplitter::Kind::line) {
      take_line(line.text);
    } else {
      say(rpc_refusal("null", rpc_invalid_request, "a line is longer than 8MiB"));
    }
    return !output_ended_;
  });
}

void Session::take_line(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
  const auto message = parse_json(line, DuplicateKeys::last_wins);
  if (!message) return say(rpc_refusal("null", rpc_parse_error, "no JSON: " + message.error().message));
  message->is_array() && !message->empty() ? take_batch(*message) : take_message(*message, nullptr);
}

void Session::take_batch(const json& messages) {
  const auto batch = std::make_shared<Batch>();
  batch->missing = 1;  // until all are read
  for (const json& message : messages) take_message(message, batch);
  leave(batch);
}

void Session::take_message(const json& message, const InBatch& batch) {
  const auto read = read_client_message(message);
  if (batch) ++batch->missing;
  if (const auto* bad = std::get_if<BadMessage>(&read))
    return answer(batch, rpc_refusal(bad->id, bad->code, bad->why));
  if (const auto* request = std::get_if<ClientRequest>(&read))
    return begin({request->id, batch, progress_token(request->params), {}}, request->method, request->params);
  if (const auto* told = std::get_if<ClientNotification>(&read))
    take_notification(told->method, told->params);
  leave(batch);
}

void Session::begin(Open request, const std::string& method, const json& params) {
  const JsonText& id = request.id;
  if (method == "ping") return answer(request.batch, rpc_answer(id, "{}"));
  if (std::ranges::any_of(open_, [&](const auto& one) { return one.second.id == id; }))
    return answer(request.batch, rpc_refusal(id, rpc_invalid_request, "a request with this id is open"));
  if (open_.size() >= most_open) {
    return answer(request.batch,
                  rpc_refusal(id, rpc_too_many,
                              std::to_string(most_open) + " requests are open; wait for the answer to one"));
  }
  open_.emplace(++last_, std::move(request));
  offer_.take(method, params, Call(*this, last_));
}

void Session::take_notification(const std::string& method, const json& params) {
  if (method != "notifications/cancelled") return;
  const json& id = field(params, "requestId");
  const JsonText text = to_text(id);
  const auto found = std::ranges::find_if(open_, [&](const auto& one) { return one.second.id == text; });
  if (found != open_.end()) cancel(found->first);
}

void Session::cancel(std::uint64_t number) {
  const auto found = open_.find(number);
  // Out of the table first: what it does may look for it.
  const Open ended = std::move(found->second);
  open_.erase(found);
  if (ended.cancel) ended.cancel();
  leave(ended.batch);
}

void Session::cancel_all() {
  while (!open_.empty()) cancel(open_.begin()->first);
}

Session::Open* Session::find(std::uint64_t number) {
  const auto found = open_.find(number);
  return found == open_.end() ? nullptr : &found->second;
}

void Session::finish(std::uint64_t number, const std::function<std::string(const JsonText&)>& line) {
  const auto found = open_.find(number);
  if (found == open_.end()) return;
  const Open ended = std::move(found->second);
  open_.erase(found);
  answer(ended.batch, line(ended.id));
}

void Session::answer(const InBatch& batch, std::string line) {
  if (!batch) return say(line);
  line.pop_back();
  batch->answers.append(batch->answers.empty() ? "[" : ",").append(line);
  leave(batch);
}

void Session::leave(const InBatch& batch) {
  if (batch && --batch->missing == 0 && !batch->answers.empty()) say(batch->answers + "]\n");
}

void Session::say(const std::string& line) {
  if (!output_ended_ && !write_to_client(line)) output_ended_ = true;
}

}  // namespace kurultai
