// JSON from outside. Every text that another process wrote is parsed here and nowhere else: the parser of
// nlohmann_json accepts any depth, and a tree of 100,000 levels overflows the stack when it is copied.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/error.h"

namespace kurultai {

inline constexpr int max_json_depth = 64;

enum class DuplicateKeys { refuse, last_wins };

/// Refuses nesting deeper than `max_json_depth`, numbers out of range (1e400), invalid UTF-8, duplicate keys
/// and anything after the value. The message says what, and for bad syntax at which byte.
Result<nlohmann::json> parse_json(std::string_view text, DuplicateKeys duplicates = DuplicateKeys::refuse);

/// Whether `parse_json` refused a text for its depth.
bool is_too_deep(const Error& error);

/// Compact text; bytes that are not UTF-8 become U+FFFD, so it never throws.
std::string to_text(const nlohmann::json& value);

/// A number that was written as a whole one and fits; nothing for anything else. The library would cast a
/// fraction, whatever its size.
std::optional<std::int64_t> if_whole(const nlohmann::json& value);
/// The same; throws std::invalid_argument, as the library does for other types.
std::int64_t whole_of(const nlohmann::json& value);

/// Whether `text` is a JSON string as it stands, but for the quotes: ASCII that needs no escape. As most are:
/// ids, words and times.
bool is_plain(std::string_view text);

/// Appends `text` as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD.
void append_quoted(std::string& out, std::string_view text);

}  // namespace kurultai
