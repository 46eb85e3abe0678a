// UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kurultai {

bool is_utf8(std::string_view bytes);

/// The same text with every invalid byte replaced by U+FFFD.
std::string to_utf8(std::string_view bytes);

/// The longest beginning of at most `limit` bytes that ends between two characters.
std::string_view utf8_prefix(std::string_view text, std::size_t limit);

}  // namespace kurultai
