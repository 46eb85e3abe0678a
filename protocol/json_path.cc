#include "protocol/json_path.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>

#include "protocol/utf8.h"

namespace kurultai {
namespace {

bool is_name_character(unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; }

}  // namespace

/// Takes the text from its front. A step that is wrong leaves `rest` where it stands.
struct JsonPath::Reader {
  std::string_view rest;

  bool skip(char c) {
    if (!rest.starts_with(c)) return false;
    rest.remove_prefix(1);
    return true;
  }

  bool read_name(Step& step) {
    const auto end = std::find_if_not(rest.begin(), rest.end(), is_name_character);
    step.name.assign(rest.begin(), end);
    rest.remove_prefix(step.name.size());
    return !step.name.empty();
  }

  /// What stands between the brackets, and the closing one.
  bool read_inside(Step& step) {
    if (skip('*')) return step.kind = Step::Kind::each, skip(']');
    if (rest.starts_with('\'') || rest.starts_with('"')) {
      const std::size_t end = rest.find(rest[0], 1);
      if (end == std::string_view::npos) return false;
      step.name = rest.substr(1, end - 1);
      rest.remove_prefix(end + 1);
      return skip(']');
    }
    step.kind = Step::Kind::element;
    const auto [stop, error] = std::from_chars(rest.data(), rest.data() + rest.size(), step.index);
    if (error != std::errc{}) return false;
    rest.remove_prefix(static_cast<std::size_t>(stop - rest.data()));
    return skip(']');
  }

  bool read_step(Step& step) { return skip('.') ? read_name(step) : skip('[') && read_inside(step); }
};

Result<JsonPath> JsonPath::parse(std::string_view text) {
  const std::string shown = "path '" + std::string(utf8_prefix(text, 64)) + "'";
  if (text.empty()) return failure("a path is empty; $ is the whole line");
  if (text.size() > longest) return failure(shown + " is longer than " + std::to_string(longest) + " bytes");
  JsonPath path;
  path.text_ = text;
  Reader reader{text};
  if (!reader.skip('$') && !text.starts_with('[')) {
    if (!reader.read_name(path.steps_.emplace_back()))
      return failure(shown + " begins with neither $ nor a name");
  }
  while (!reader.rest.empty()) {
    if (!reader.read_step(path.steps_.emplace_back())) {
      return failure(shown + " is wrong before '" + std::string(utf8_prefix(reader.rest, 16)) +
                     "'; steps are .name, ['any name'], [2], [-1] and [*]");
    }
  }
  if (path.steps_.size() > most_steps) {
    return failure(shown + " has more than " + std::to_string(most_steps) + " steps");
  }
  return path;
}

std::vector<const nlohmann::json*> JsonPath::find(const nlohmann::json& value) const {
  std::vector<const nlohmann::json*> found;
  find_from(0, value, found);
  return found;
}

void JsonPath::find_from(std::size_t step, const nlohmann::json& value,
                         std::vector<const nlohmann::json*>& found) const {
  if (found.size() >= most_found) return;
  if (step == steps_.size()) {
    if (!value.is_null()) found.push_back(&value);
    return;
  }
  const Step& next = steps_[step];
  switch (next.kind) {
    case Step::Kind::member: {
      if (!value.is_object()) return;
      const auto member = value.find(next.name);
      if (member != value.end()) find_from(step + 1, *member, found);
      return;
    }
    case Step::Kind::element: {
      if (!value.is_array()) return;
      const auto size = static_cast<std::int64_t>(value.size());
      const std::int64_t index = next.index < 0 ? size + next.index : next.index;
      if (index >= 0 && index < size) find_from(step + 1, value[static_cast<std::size_t>(index)], found);
      return;
    }
    case Step::Kind::each:
      if (!value.is_array()) return;
      for (const auto& element : value) find_from(step + 1, element, found);
      return;
  }
}

}  // namespace kurultai
