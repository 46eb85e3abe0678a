#include "tools/kurultai/cells.h"

#include <nlohmann/json.hpp>

#include "tools/kurultai/fields.h"
#include "tools/kurultai/text.h"

namespace kurultai {

using nlohmann::json;

std::string count(const json& object, const char* name) {
  const auto value = int_field(object, name);
  return value ? std::to_string(*value) : "";
}

std::string size(const json& object, const char* name) {
  const auto value = bytes_field(object, name);
  return value ? brief(*value) : "";
}

std::string since(const json& object, const char* name) {
  return age(text_field(object, name), std::chrono::system_clock::now());
}

std::string joined(const json& list, const char* separator) {
  std::string out;
  for (const auto& item : list) {
    if (item.is_string()) out += (out.empty() ? "" : separator) + item.get<std::string>();
  }
  return out;
}

}  // namespace kurultai
