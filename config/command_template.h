// `{field}` in the arguments of an exec agent's command: replaced within one argument by a field of the
// payload, once, never rescanned. `{{` and `}}` are braces. Pure; whoever fills the fields in uses the same
// pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.h"

namespace kurultai {

struct TemplatePiece {
  bool is_field = false;
  std::string text;  // the field's name, or text to take as it is

  bool operator==(const TemplatePiece&) const = default;
};

/// Names are of letters, digits, `_`, `-` and `.`. Refuses a brace without its partner and other names.
Result<std::vector<TemplatePiece>> parse_template(std::string_view argument);

}  // namespace kurultai
