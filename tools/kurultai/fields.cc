#include "tools/kurultai/fields.h"

#include <nlohmann/json.hpp>

#include "protocol/json_text.h"

namespace kurultai {

const nlohmann::json& nothing() {
  static const nlohmann::json null;
  return null;
}

const nlohmann::json& field(const nlohmann::json& object, const char* name) {
  if (!object.is_object()) return nothing();
  const auto found = object.find(name);
  return found == object.end() ? nothing() : *found;
}

std::string text_field(const nlohmann::json& object, const char* name) {
  const auto& value = field(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::optional<std::int64_t> int_field(const nlohmann::json& object, const char* name) {
  return if_whole(field(object, name));
}

std::optional<double> number_field(const nlohmann::json& object, const char* name) {
  const auto& value = field(object, name);
  if (!value.is_number()) return std::nullopt;
  return value.get<double>();
}

std::optional<Bytes> bytes_field(const nlohmann::json& object, const char* name) {
  const auto count = int_field(object, name);
  if (!count) return std::nullopt;
  return Bytes{*count};
}

std::optional<Duration> ms_field(const nlohmann::json& object, const char* name) {
  const auto count = number_field(object, name);
  if (!count) return std::nullopt;
  return Duration(static_cast<std::int64_t>(*count));
}

}  // namespace kurultai
