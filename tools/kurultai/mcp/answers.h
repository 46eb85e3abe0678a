// The supervisor's objects as a model is given them: short, without what has no value, and never larger than
// a conversation can hold. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "protocol/messages.h"
#include "tools/kurultai/complaint.h"
#include "tools/kurultai/http.h"

namespace kurultai {

/// Of one answer, in bytes of JSON.
inline constexpr std::size_t longest_inline_result = 32UL * 1024;
inline constexpr std::size_t longest_answer = 256UL * 1024;

/// A task with its result, or the size of one above `longest_inline_result`.
nlohmann::json task_answer(const nlohmann::json& task);
/// The same of a list, without results.
nlohmann::json task_list_answer(const nlohmann::json& list);
nlohmann::json agents_answer(const nlohmann::json& agents);
nlohmann::json headroom_answer(const nlohmann::json& memory);

/// Of a result's bytes from `offset` on, of which `bytes` were read and the limit was `asked`.
nlohmann::json result_part(const std::string& task_id, std::int64_t offset, std::string_view bytes,
                           std::size_t asked);
/// The end of a log, whole characters.
nlohmann::json log_answer(const std::string& task_id, std::string_view log, std::size_t limit);

/// The result of tools/call: `object` as structuredContent and as text, or an error when that is too long.
JsonText tool_result(const nlohmann::json& object);

/// What was refused, as `{code, message, retryAfter}`: the supervisor's own words where it has spoken.
/// `retryAfter` is there where trying again can help.
nlohmann::json refusal_object(const Answer<Response>& answer);
nlohmann::json refusal_object(std::string_view code, std::string_view message);
/// The result of tools/call with `isError`.
JsonText tool_refusal(const nlohmann::json& refusal);

}  // namespace kurultai
