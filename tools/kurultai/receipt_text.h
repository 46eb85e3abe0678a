// A receipt (`GET /v1/tasks/{id}/why`) as a person reads it: what happened, on which figures, who else was
// there, what was tried first, and the memory of the minute before. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace kurultai {

/// `height` lines of `width` columns: the most used in each column's time, as blocks under the scale of the
/// budget; a threshold is a line of dots. Oldest at the left. Empty without points.
std::string memory_chart(const nlohmann::json& decision, std::size_t width, std::size_t height);

std::string receipt_text(const nlohmann::json& why);

}  // namespace kurultai
