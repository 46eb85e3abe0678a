#pragma once

#include <string_view>

namespace kurultai {

/// Of all programs of the project alike, as in "0.1.0".
extern const std::string_view project_version;

}  // namespace kurultai
