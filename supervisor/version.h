#pragma once

#include <string_view>

namespace kurultai {

inline constexpr std::string_view version = KURULTAI_VERSION;

}  // namespace kurultai
