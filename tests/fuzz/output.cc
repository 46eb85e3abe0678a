// Whatever rules for the output of an agent say, and whatever it prints: rules that are understood are
// written as the same rules, and what a line says is found where its path points.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "protocol/agent_answer.h"
#include "protocol/json_text.h"
#include "protocol/output_order.h"
#include "protocol/utf8.h"
#include "tests/fuzz/check.h"

using namespace kurultai;
using nlohmann::json;

namespace {

constexpr Bytes longest{200};

std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

/// A path of plain names is a JSON pointer, too.
void finds_the_same(const JsonPath& path, const json& value) {
  const auto found = path.find(value);
  HOLDS(found.size() <= JsonPath::most_found);
  for (const json* one : found) HOLDS(!one->is_null());
  std::string pointer = path.text().starts_with('$') ? path.text().substr(1) : "." + path.text();
  if (path.text().starts_with('[') || pointer.find_first_of("[]'\"/~") != std::string::npos) return;
  std::ranges::replace(pointer, '.', '/');
  const json::json_pointer same(pointer);
  // A pointer goes into lists, too, where a path has [2].
  for (auto above = same; !above.empty(); above = above.parent_pointer()) {
    if (!value.contains(above.parent_pointer()) || !value.at(above.parent_pointer()).is_object()) {
      HOLDS(found.empty());
      return;
    }
  }
  const bool is_there = value.contains(same) && !value.at(same).is_null();
  HOLDS(found.size() == (is_there ? 1U : 0U));
  if (is_there) HOLDS(*found.front() == value.at(same));
}

void says_what_is_there(const OutputRules& rules, std::string_view line) {
  const OutputLine read = read_output_line(rules, line);
  HOLDS(read.is_object || !read.word);
  const auto value = parse_json(line, DuplicateKeys::last_wins);
  HOLDS(!read.is_object || (value && value->is_object()));
  if (!read.is_object) return;
  for (const OutputRule& rule : rules) {
    for (const JsonPath& path : rule.what) finds_the_same(path, *value);
    for (const auto& condition : rule.when) finds_the_same(condition.path, *value);
  }
  if (!read.word) return;
  HOLDS(read.word->rule < rules.size() && rules[read.word->rule].says == read.word->says);
  HOLDS(is_utf8(read.word->text));
  if (!read.word->is_text) HOLDS(parse_json(read.word->text).has_value());
  if (read.word->says != OutputRule::Says::result) HOLDS(!read.word->text.empty());
}

void order_comes_back(const OutputOrder& order) {
  const JsonText text = to_text(order);
  const auto again = read_output_order(text);
  HOLDS(again.has_value() && *again == order && to_text(*again) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto order = read_output_order(take_line(text));
  if (!order) {
    HOLDS(!order.error().message.empty() && is_utf8(order.error().message));
    return 0;
  }
  HOLDS(order->max_line.count >= 0);
  order_comes_back(*order);
  AgentAnswer answer(order->rules, longest);
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    says_what_is_there(order->rules, line);
    const auto taken = answer.take(line);
    HOLDS(!taken.is_log || taken.progress.empty());
  }
  if (answer.last()) HOLDS(answer.last()->says != OutputRule::Says::progress);
  return 0;
}
