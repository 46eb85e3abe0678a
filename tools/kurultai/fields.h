// Reading the supervisor's objects without trusting their shape: a field that is missing or of another type
// is absent, never an exception, so that an older client can read a newer supervisor.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "protocol/bytes.h"
#include "protocol/duration.h"

namespace kurultai {

/// JSON null, with static lifetime.
const nlohmann::json& nothing();

/// The value of `name`, or null when `object` is no object or has no such field.
const nlohmann::json& field(const nlohmann::json& object, const char* name);

std::string text_field(const nlohmann::json& object, const char* name);  // empty when absent
std::optional<std::int64_t> int_field(const nlohmann::json& object, const char* name);
std::optional<double> number_field(const nlohmann::json& object, const char* name);
std::optional<Bytes> bytes_field(const nlohmann::json& object, const char* name);
std::optional<Duration> ms_field(const nlohmann::json& object, const char* name);

}  // namespace kurultai
