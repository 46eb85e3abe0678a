#include "protocol/fields.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/json_text.h"
#include "protocol/utf8.h"

namespace kurultai {
namespace {

using nlohmann::json;

void cut(std::string& text, std::size_t limit) { text.resize(utf8_prefix(text, limit).size()); }

// Whole numbers as every runtime writes them: 5, 5.0, 5e3; what is after the point is dropped.
std::optional<std::int64_t> to_whole(const json& value) {
  constexpr double beyond = 9223372036854775808.0;  // 2^63
  if (value.is_number_unsigned()) {
    const auto count = value.get<std::uint64_t>();
    if (std::in_range<std::int64_t>(count)) return static_cast<std::int64_t>(count);
  } else if (value.is_number_integer()) {
    return value.get<std::int64_t>();
  } else if (value.is_number_float()) {
    const auto number = value.get<double>();
    if (number >= -beyond && number < beyond) return static_cast<std::int64_t>(number);
  }
  return std::nullopt;
}

std::string with_article(const json& value) {
  if (value.is_null()) return "null";
  return (value.is_structured() ? "an " : "a ") + std::string(value.type_name());
}

}  // namespace

json* Fields::find(std::string_view name) const {
  const auto found = object_.find(name);
  return found == object_.end() ? nullptr : &*found;
}

bool Fields::has(std::string_view name) const {
  const json* value = find(name);
  return value != nullptr && !value->is_null();
}

json* Fields::required(std::string_view name) {
  json* value = find(name);
  if (value == nullptr) fault(name, "is missing");
  return value;
}

void Fields::fault(std::string_view name, std::string_view what) {
  if (!why_.empty()) return;
  why_.append(type_).append(": ").append(name).append(" ").append(what);
}

void Fields::wrong_type(std::string_view name, const json& value, std::string_view wanted) {
  fault(name, "is " + with_article(value) + ", not " + std::string(wanted));
}

std::string Fields::text(std::string_view name, std::size_t limit) {
  json* value = required(name);
  if (value == nullptr) return {};
  if (!value->is_string()) return wrong_type(name, *value, "a string"), std::string();
  std::string text = std::move(value->get_ref<std::string&>());
  cut(text, limit);
  return text;
}

std::string Fields::id(std::string_view name) {
  const json* value = find(name);
  return value != nullptr && value->is_number() ? to_text(*value) : text(name);
}

std::string Fields::text_of_anything(std::string_view name, std::size_t limit) {
  json* value = required(name);
  if (value == nullptr) return {};
  if (value->is_string()) return text(name, limit);
  std::string text = to_text(*value);
  cut(text, limit);
  return text;
}

double Fields::number(std::string_view name) {
  const json* value = required(name);
  if (value == nullptr) return 0;
  if (!value->is_number()) return wrong_type(name, *value, "a number"), 0;
  return value->get<double>();
}

std::int64_t Fields::whole_of(std::string_view name, const json& value, std::int64_t low, std::int64_t high) {
  if (!value.is_number()) return wrong_type(name, value, "a number"), 0;
  const std::optional<std::int64_t> number = to_whole(value);
  if (!number || *number < low || *number > high) return fault(name, "is out of range"), 0;
  return *number;
}

std::int64_t Fields::whole(std::string_view name, std::int64_t low, std::int64_t high) {
  const json* value = required(name);
  return value == nullptr ? 0 : whole_of(name, *value, low, high);
}

std::uint64_t Fields::sequence(std::string_view name) {
  const json* value = required(name);
  if (value == nullptr) return 0;
  if (value->is_number_unsigned()) return value->get<std::uint64_t>();
  return static_cast<std::uint64_t>(whole_of(name, *value, 0, most));
}

std::string Fields::value(std::string_view name) {
  const json* value = required(name);
  return value == nullptr ? std::string() : to_text(*value);
}

std::string Fields::text_or(std::string_view name, std::string_view fallback, std::size_t limit) {
  return has(name) ? text(name, limit) : std::string(fallback);
}

std::int64_t Fields::whole_or(std::string_view name, std::int64_t fallback, std::int64_t low,
                              std::int64_t high) {
  return has(name) ? whole(name, low, high) : fallback;
}

std::optional<std::int64_t> Fields::whole_if_any(std::string_view name) {
  if (!has(name)) return std::nullopt;
  return whole(name);
}

bool Fields::flag_or(std::string_view name, bool fallback) {
  if (!has(name)) return fallback;
  const json& value = *find(name);
  if (!value.is_boolean()) return wrong_type(name, value, "true or false"), fallback;
  return value.get<bool>();
}

std::vector<std::string> Fields::texts_if_any(std::string_view name) {
  std::vector<std::string> texts;
  if (!has(name)) return texts;
  json& list = *find(name);
  if (!list.is_array()) return wrong_type(name, list, "a list of strings"), texts;
  for (json& element : list) {
    if (!element.is_string()) return wrong_type(name, list, "a list of strings"), texts;
    texts.push_back(std::move(element.get_ref<std::string&>()));
  }
  return texts;
}

std::vector<std::pair<std::string, std::string>> Fields::pairs(std::string_view name, std::string_view first,
                                                               std::string_view second, std::size_t limit) {
  std::vector<std::pair<std::string, std::string>> found;
  const json* list = required(name);
  if (list == nullptr) return found;
  if (!list->is_array()) return wrong_type(name, *list, "a list of objects"), found;
  for (const json& element : *list) {
    if (!element.is_object()) return wrong_type(name, *list, "a list of objects"), found;
    if (found.size() == limit) return found;
    const auto text = [&element](std::string_view member) {
      const auto value = element.find(member);
      return value != element.end() && value->is_string() ? value->get<std::string>() : std::string();
    };
    found.emplace_back(text(first), text(second));
  }
  return found;
}

std::string Fields::value_if_any(std::string_view name) {
  const json* value = find(name);
  return value == nullptr ? std::string() : to_text(*value);
}

std::optional<std::int64_t> Fields::whole_if_sound(std::string_view name, std::int64_t high) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<std::int64_t> number = to_whole(*value);
  return number && *number >= 0 && *number <= high ? number : std::nullopt;
}

std::optional<std::string> Fields::text_if_sound(std::string_view name) const {
  const json* value = find(name);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

}  // namespace kurultai
