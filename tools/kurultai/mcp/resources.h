// What a client may read of a supervisor by URI. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/messages.h"

namespace kurultai {

/// Of one that is read.
inline constexpr std::size_t longest_resource = 1024UL * 1024;

/// The results of `resources/list` and `resources/templates/list`.
JsonText resource_list();
JsonText resource_templates();

struct ResourcePlace {
  std::string path;  // of the supervisor's HTTP
  std::string type;  // empty: as the bytes are, text or not
  bool is_task_list = false;
};
/// Nothing when there is no such resource.
std::optional<ResourcePlace> find_resource(std::string_view uri);

/// The result of `resources/read`.
JsonText resource_result(const std::string& uri, const ResourcePlace& place, std::string_view bytes);

}  // namespace kurultai
