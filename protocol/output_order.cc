#include "protocol/output_order.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_text.h"

namespace kurultai {

using nlohmann::json;

JsonText to_text(const OutputOrder& order) {
  if (order.is_log) return R"({"format":"none"})";
  json rules = json::array();
  for (const OutputRule& rule : order.rules) rules.push_back(to_json(rule));
  return to_text(json{{"format", "jsonl"}, {"maxLine", order.max_line.count}, {"rules", std::move(rules)}});
}

Result<OutputOrder> read_output_order(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return failure("output: " + value.error().message);
  if (!value->is_object()) return failure("output: is no object");
  const std::string format = value->value("format", json()).dump();
  if (format == R"("none")") return OutputOrder{.is_log = true};
  const json line = value->value("maxLine", json()), rules = value->value("rules", json());
  const bool has_line = line.is_number_unsigned() && std::in_range<std::int64_t>(line.get<std::uint64_t>());
  if (format != R"("jsonl")" || !has_line || !rules.is_array()) {
    return failure("output: is neither none nor jsonl with maxLine and rules");
  }
  OutputOrder order{.max_line = {line.get<std::int64_t>()}};
  for (const json& one : rules) {
    auto rule = read_output_rule(one);
    if (!rule) return failure("output: " + rule.error().message);
    order.rules.push_back(std::move(*rule));
  }
  return order;
}

}  // namespace kurultai
