// How a row of a table of settings is made. Included by the tables alone.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "config/setting_types.h"
#include "config/settings.h"

namespace kurultai {

/// One row. `access` gives the field of a Config or a const Config.
template <typename Root, typename Type, typename Access>
Setting<Root> setting_row(std::string path, Applies applies, std::string about, const Type& type,
                          Access access) {
  Setting<Root> setting;
  setting.path = std::move(path);
  setting.about = std::move(about);
  setting.applies = applies;
  const Json schema = type.schema();
  setting.structured = schema.contains("type") && (schema["type"] == "array" || schema["type"] == "object");
  setting.read = [type, access](const YamlNode& node, Root& root, const Refuse& refuse) {
    using Field = std::remove_reference_t<decltype(access(root))>;
    if (auto value = type.read(node, refuse)) access(root) = static_cast<Field>(*std::move(value));
  };
  setting.print = [type, access](const Root& root) { return type.print(access(root)); };
  setting.schema = [type] { return type.schema(); };
  return setting;
}

/// The way to a field of a Config or a const Config: the members to go through.
template <typename... Members>
auto field(Members... members) {
  return [=](auto& root) -> auto& { return (root.*....*members); };
}

}  // namespace kurultai
