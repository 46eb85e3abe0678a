#include "protocol/json_rpc.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_text.h"
#include "protocol/line_writer.h"
#include "protocol/utf8.h"

namespace kurultai {
namespace {

constexpr std::size_t longest_message = 4096;

LineWriter begin(std::size_t size) {
  LineWriter line(size);
  line.text("jsonrpc", "2.0");
  return line;
}

}  // namespace

std::string rpc_request(std::int64_t id, std::string_view method, const JsonText& params) {
  LineWriter line = begin(params.size());
  line.whole("id", id).text("method", method);
  if (!params.empty()) line.raw("params", params);
  return line.line();
}

std::string rpc_notification(std::string_view method, const JsonText& params) {
  LineWriter line = begin(params.size());
  line.text("method", method);
  if (!params.empty()) line.raw("params", params);
  return line.line();
}

std::string rpc_answer(const JsonText& id, const JsonText& result) {
  return begin(result.size()).raw("id", id).raw("result", result).line();
}

std::string rpc_refusal(const JsonText& id, std::int64_t code, std::string_view message) {
  return rpc_refusal(id, LineWriter().whole("code", code).text("message", message).object());
}

std::string rpc_refusal(const JsonText& id, const JsonText& error) {
  return begin(error.size()).raw("id", id).raw("error", error).line();
}

std::optional<std::int64_t> rpc_own_id(const nlohmann::json& id) {
  if (id.is_number_unsigned() && std::in_range<std::int64_t>(id.get<std::uint64_t>()))
    return id.get<std::int64_t>();
  return std::nullopt;
}

RpcError read_rpc_error(const nlohmann::json& error) {
  RpcError read;
  std::string text;
  if (error.is_object()) {
    if (const auto code = error.find("code"); code != error.end() && code->is_number_integer())
      read.code = code->get<std::int64_t>();
    if (const auto message = error.find("message"); message != error.end() && message->is_string())
      text = message->get<std::string>();
  }
  if (text.empty()) text = to_text(error);
  read.message = utf8_prefix(text, longest_message);
  read.message += " (JSON-RPC error " + std::to_string(read.code) + ")";
  return read;
}

}  // namespace kurultai
