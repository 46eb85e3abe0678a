// Messages to lines and back. Pure; used by the supervisor and by the hosts in `kurultai-worker`, which stand
// on the other end of the same pipe.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "protocol/error.h"
#include "protocol/messages.h"

namespace kurultai {

/// A line that is no protocol message: an agent's print. It is log, and counted.
struct Noise {
  bool operator==(const Noise&) const = default;
};
/// A JSON object with a `type` that version 1 does not know. It is ignored, and counted.
struct UnknownType {
  std::string type;  // at most 64 bytes of it
  bool operator==(const UnknownType&) const = default;
};
/// A known type with fields that are missing, of a wrong type or out of range; nesting that is too deep.
struct Malformed {
  std::string why;  // names the type and the field: `PROGRESS: percent is missing`
  bool operator==(const Malformed&) const = default;
};

using FromAgentLine = std::variant<FromAgent, Noise, UnknownType, Malformed>;
using ToAgentLine = std::variant<ToAgent, Noise, UnknownType, Malformed>;

/// One line with the newline at its end. JSON values are spliced in as they are (a newline between their
/// tokens becomes a blank); text that is not UTF-8 gets U+FFFD, the data of a Chunk goes as base64 then.
std::string encode(const ToAgent& message);
std::string encode(const FromAgent& message);

/// A line that does not start with `{` (after blanks) or is no JSON object with a string `type` is Noise,
/// except that one nested too deeply is Malformed, and one that starts as an answer (`{"type":"COMPLETE"…`,
/// FAILED, PREEMPTED, CHECKPOINT, CHUNK) and then is no JSON: NaN for a number, bytes that are not UTF-8. Of
/// a key that stands twice the last one counts, and null counts as absent where a field may be. Long texts of
/// agents are cut: error at 4 KiB, stack at 64 KiB, the message of PROGRESS at 1 KiB and of LOG at 16 KiB.
/// JSON values come out compact.
///
/// Clumsy agents are met half way: a number is taken for a task id, any value for FAILED's error. What only
/// the exec host may say (exitCode, signal, reason, fileBytes, peakBytes) is ignored where it makes no sense,
/// since it is an unknown field to everyone else; the caller knows whether the line came from the exec host,
/// and must not believe others.
FromAgentLine decode_from_agent(std::string_view line);
ToAgentLine decode_to_agent(std::string_view line);

}  // namespace kurultai
