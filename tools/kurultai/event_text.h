// What an event says, as a sentence for a person. Pure: from the event's JSON alone; a field that is missing
// leaves its words out.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "protocol/duration.h"

namespace kurultai {

/// How a line is coloured: what ended well, what asks for attention, what went wrong, and what is only
/// detail.
enum class Tone : unsigned char { plain, good, notice, bad, detail };

struct EventText {
  std::string sentence;  // printable, one line
  Tone tone = Tone::plain;
};

/// A type that this client does not know is shown by its fields.
EventText describe_event(std::string_view type, const nlohmann::json& event);

/// `12:03:04.117` in local time, with the date before it when that is not the day of `now`.
std::string clock_text(WallTime time, WallTime now);

/// `12:03:04.117  SENTENCE`, with escape sequences when `coloured`.
std::string event_line(std::string_view type, const nlohmann::json& event, WallTime now, bool coloured);

}  // namespace kurultai
