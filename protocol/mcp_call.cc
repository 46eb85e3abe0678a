#include "protocol/mcp_call.h"

#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "protocol/utf8.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr const char* shape =
    R"(the payload must be {"tool": NAME, "arguments": {…}}, {"prompt": NAME, "arguments": {…}} or )"
    R"({"resource": URI})";

struct NamedKind {
  const char* name;
  McpCall::Kind kind;
};
constexpr NamedKind kinds[] = {
    {"tool", McpCall::Kind::tool}, {"resource", McpCall::Kind::resource}, {"prompt", McpCall::Kind::prompt}};

const NamedKind* kind_named(const std::string& field) {
  for (const NamedKind& one : kinds) {
    if (one.name == field) return &one;
  }
  return nullptr;
}

/// The one field that names what is called.
Result<const NamedKind*> find_kind(const json& payload) {
  const NamedKind* found = nullptr;
  for (const auto& [field, value] : payload.items()) {
    const NamedKind* const kind = kind_named(field);
    if (kind == nullptr && field != "arguments")
      return failure("the payload has the field '" + std::string(utf8_prefix(field, 64)) + "'; " + shape);
    if (kind == nullptr) continue;
    if (found != nullptr) return failure("the payload has two of 'tool', 'resource' and 'prompt'");
    found = kind;
  }
  if (found == nullptr) return failure(shape);
  return found;
}

}  // namespace

Result<McpCall> read_mcp_call(const JsonText& payload) {
  if (payload.empty()) return failure(shape);
  const auto parsed = parse_json(payload);
  if (!parsed) return std::unexpected(parsed.error());
  if (!parsed->is_object()) return failure(shape);
  const auto kind = find_kind(*parsed);
  if (!kind) return std::unexpected(kind.error());
  const json& name = (*parsed)[(*kind)->name];
  if (!name.is_string() || name.get_ref<const std::string&>().empty())
    return failure("'" + std::string((*kind)->name) + "' must be a text");
  McpCall call{(*kind)->kind, name.get<std::string>(), {}};
  const auto arguments = parsed->find("arguments");
  if (arguments == parsed->end() || arguments->is_null()) return call;
  if (!arguments->is_object()) return failure("'arguments' must be an object");
  if (call.kind == McpCall::Kind::resource) return failure("a resource has no 'arguments'");
  call.arguments = to_text(*arguments);
  return call;
}

}  // namespace kurultai
