// Values as a person reads them in a table or an error. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

/// One line that is safe on a terminal: agents choose parts of what we print, and an escape sequence in a
/// message could rewrite the screen. Control characters become spaces, invalid UTF-8 U+FFFD.
std::string printable(std::string_view text);

/// Columns the text takes, one a code point.
std::size_t width(std::string_view text);

/// At most `columns` wide, with `…` where it was cut.
std::string shorten(std::string_view text, std::size_t columns);

/// `250ms`, `1.5s`, `12s`, `3m20s`, `2h5m`, `3d4h`.
std::string brief(Duration duration);

/// A size to read at a glance: at most one decimal of the largest unit (`512MiB`, `1.4GiB`).
std::string brief(Bytes bytes);

std::string percent(double ratio);

/// The reverse of `to_rfc3339`; fractions of a second are optional. Within 285 years of 1970.
std::optional<WallTime> parse_rfc3339(std::string_view text);

/// How long ago, `-` for a moment that could not be read.
std::string age(std::string_view rfc3339, WallTime now);

/// A command as one would name it in a sentence: words joined by blanks. In 80 columns, of which a longer one
/// gives the end to `argument`, by which commands of one run differ; empty: there is none.
std::string command_label(const std::vector<std::string>& argv, std::string_view argument);

/// Escapes everything that is not unreserved in a URL (RFC 3986).
std::string url_escaped(std::string_view text);

}  // namespace kurultai
