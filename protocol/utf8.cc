#include "protocol/utf8.h"

#include <cstdint>
#include <cstring>

namespace kurultai {
namespace {

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

std::size_t ascii_run(std::string_view bytes) {
  std::size_t length = 0;
  for (std::uint64_t eight = 0; length + sizeof eight <= bytes.size(); length += sizeof eight) {
    std::memcpy(&eight, bytes.data() + length, sizeof eight);
    if ((eight & 0x8080808080808080U) != 0) break;
  }
  while (length < bytes.size() && static_cast<unsigned char>(bytes[length]) < 0x80) ++length;
  return length;
}

struct Form {
  std::size_t length;
  unsigned char second_low, second_high;  // what keeps out overlong forms, surrogates and > U+10FFFF
};

// The table of RFC 3629, section 4, for lead bytes above 0x7F; length 0: no such lead byte.
Form form_of(unsigned char lead) {
  if (lead < 0xC2 || lead > 0xF4) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {4, 0x80, 0xBF};
}

// Bytes of the multi-byte character at the beginning of `bytes`, 0 when it is not a valid one.
std::size_t multibyte_length(std::string_view bytes) {
  const Form form = form_of(static_cast<unsigned char>(bytes[0]));
  if (form.length == 0 || bytes.size() < form.length) return 0;
  const auto second = static_cast<unsigned char>(bytes[1]);
  if (second < form.second_low || second > form.second_high) return 0;
  for (std::size_t i = 2; i < form.length; ++i) {
    if (!is_continuation(bytes[i])) return 0;
  }
  return form.length;
}

// The length of the valid text at the beginning of `bytes`.
std::size_t valid_run(std::string_view bytes) {
  std::size_t length = 0;
  while ((length += ascii_run(bytes.substr(length))) < bytes.size()) {
    const std::size_t character = multibyte_length(bytes.substr(length));
    if (character == 0) break;
    length += character;
  }
  return length;
}

}  // namespace

bool is_utf8(std::string_view bytes) { return valid_run(bytes) == bytes.size(); }

std::string to_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (true) {
    const std::size_t valid = valid_run(bytes);
    text.append(bytes.substr(0, valid));
    if (valid == bytes.size()) return text;
    text.append("\xEF\xBF\xBD");
    bytes.remove_prefix(valid + 1);
  }
}

std::string_view utf8_prefix(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit;
  // A character has at most three continuation bytes; more of them in a row is no UTF-8 and is cut anywhere.
  while (end > 0 && limit - end < 4 && is_continuation(text[end])) --end;
  return text.substr(0, is_continuation(text[end]) ? limit : end);
}

}  // namespace kurultai
