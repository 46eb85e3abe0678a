#include "config/command_template.h"

#include <algorithm>
#include <cctype>

#include "config/yaml_tree.h"

namespace kurultai {
namespace {

bool is_name_character(unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.'; }

bool is_field_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), is_name_character);
}

void add_text(std::vector<TemplatePiece>& pieces, std::string_view text) {
  if (text.empty()) return;
  if (pieces.empty() || pieces.back().is_field) pieces.push_back({});
  pieces.back().text += text;
}

}  // namespace

Result<std::vector<TemplatePiece>> parse_template(std::string_view argument) {
  std::vector<TemplatePiece> pieces;
  while (!argument.empty()) {
    const std::size_t brace = std::min(argument.find_first_of("{}"), argument.size());
    add_text(pieces, argument.substr(0, brace));
    argument.remove_prefix(brace);
    if (argument.empty()) break;
    if (argument.size() > 1 && argument[0] == argument[1]) {
      add_text(pieces, argument.substr(0, 1));
      argument.remove_prefix(2);
      continue;
    }
    if (argument[0] == '}') return failure("'}' without a '{' before it; write }} for a brace");
    const std::size_t end = argument.find('}');
    if (end == std::string_view::npos) return failure("'{' without a '}' behind it; write {{ for a brace");
    const std::string_view name = argument.substr(1, end - 1);
    if (!is_field_name(name)) {
      return failure(in_quotes(name) + " between braces is no name of a field; write {{ and }} for braces");
    }
    pieces.push_back({true, std::string(name)});
    argument.remove_prefix(end + 1);
  }
  return pieces;
}

}  // namespace kurultai
