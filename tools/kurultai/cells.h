// Fields of the supervisor's objects as cells of a table; empty where there is none.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace kurultai {

std::string count(const nlohmann::json& object, const char* name);
std::string size(const nlohmann::json& object, const char* name);
/// How long ago.
std::string since(const nlohmann::json& object, const char* name);
/// The texts of a list.
std::string joined(const nlohmann::json& list, const char* separator = " ");

}  // namespace kurultai
