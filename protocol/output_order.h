// How the exec host hears what an agent's stdout is, where it is not simply the result: a field of TASK.
// Pure.
#pragma once

#include <string_view>

#include "protocol/bytes.h"
#include "protocol/output_rules.h"

namespace kurultai {

struct OutputOrder {
  bool is_log = false;  // all of stdout is; the rest does not matter then
  Bytes max_line{};     // longer lines are skipped
  OutputRules rules{};
  bool operator==(const OutputOrder&) const = default;
};

JsonText to_text(const OutputOrder& order);
Result<OutputOrder> read_output_order(std::string_view text);

}  // namespace kurultai
