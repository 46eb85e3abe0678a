#include "tools/kurultai/mcp/progress.h"

namespace kurultai {

std::optional<ProgressNote> ProgressTold::next(double percent, const std::string& message) {
  if (percent > 0) {
    if (percent <= last_) return std::nullopt;
    last_ = percent;
    return ProgressNote{percent, 100.0, message};
  }
  if (message.empty() || message == message_) return std::nullopt;
  message_ = message;
  return ProgressNote{++last_, std::nullopt, message};
}

}  // namespace kurultai
