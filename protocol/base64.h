// Base64 of RFC 4648 section 4, with padding.
#pragma once

#include <string>
#include <string_view>

#include "protocol/error.h"

namespace kurultai {

std::string encode_base64(std::string_view bytes);

/// Takes nothing but what `encode_base64` can give: no blanks, no missing padding, no stray bits in the last
/// digit.
Result<std::string> decode_base64(std::string_view text);

}  // namespace kurultai
