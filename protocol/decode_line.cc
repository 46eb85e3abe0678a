#include "protocol/decode_line.h"

#include <algorithm>

#include "protocol/json_text.h"

namespace kurultai {
namespace {

std::string_view without_blanks(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text;
}

bool skip(std::string_view& text, std::string_view expected) {
  text = without_blanks(text);
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

/// Whether a line that is no JSON was meant as a message whose loss would leave the task without its answer,
/// or with a part of it: then silence would end in the task's timeout.
std::string_view meant_as(std::string_view line) {
  if (!skip(line, "{") || !skip(line, "\"type\"") || !skip(line, ":")) return {};
  for (const std::string_view type : {"COMPLETE", "FAILED", "PREEMPTED", "CHECKPOINT", "CHUNK"}) {
    std::string_view rest = line;
    if (skip(rest, "\"") && rest.starts_with(type) && rest.substr(type.size()).starts_with('"')) return type;
  }
  return {};
}

}  // namespace

std::variant<OpenLine, Noise, Malformed> open_line(std::string_view line) {
  line = without_blanks(line);
  if (!line.starts_with('{')) return Noise{};
  Result<nlohmann::json> object = parse_json(line, DuplicateKeys::last_wins);
  if (!object) {
    if (is_too_deep(object.error())) return Malformed{object.error().message};
    const std::string_view meant = meant_as(line);
    if (meant.empty()) return Noise{};
    return Malformed{std::string(meant) + ": " + object.error().message};
  }
  const auto type = object->find("type");
  if (type == object->end() || !type->is_string()) return Noise{};
  std::string name = std::move(type->get_ref<std::string&>());
  return OpenLine{std::move(*object), std::move(name)};
}

}  // namespace kurultai
