#include "protocol/decode_line.h"

#include <algorithm>

#include "protocol/json_text.h"

namespace kurultai {

std::variant<OpenLine, Noise, Malformed> open_line(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  if (!line.starts_with('{')) return Noise{};
  Result<nlohmann::json> object = parse_json(line, DuplicateKeys::last_wins);
  if (!object) {
    if (is_too_deep(object.error())) return Malformed{object.error().message};
    return Noise{};
  }
  const auto type = object->find("type");
  if (type == object->end() || !type->is_string()) return Noise{};
  std::string name = std::move(type->get_ref<std::string&>());
  return OpenLine{std::move(*object), std::move(name)};
}

}  // namespace kurultai
