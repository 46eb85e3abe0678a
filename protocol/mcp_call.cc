#include "protocol/mcp_call.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "protocol/json_text.h"
#include "protocol/utf8.h"

namespace kurultai {
namespace {

using nlohmann::json;

constexpr const char* shape =
    R"(the payload must be {"tool": NAME, "arguments": {…}}, {"prompt": NAME, "arguments": {…}}, )"
    R"({"resource": URI} or {"method": NAME, "params": {…}})";

struct NamedKind {
  const char* name;
  McpCall::Kind kind;
  const char* arguments;  // the name of the field with them; null: it has none
};
constexpr NamedKind kinds[] = {{"tool", McpCall::Kind::tool, "arguments"},
                               {"resource", McpCall::Kind::resource, nullptr},
                               {"prompt", McpCall::Kind::prompt, "arguments"},
                               {"method", McpCall::Kind::method, "params"}};

constexpr std::string_view methods[] = {mcp_initialize,   "tools/list",
                                        "resources/list", "resources/templates/list",
                                        "prompts/list",   "completion/complete"};

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
    if (kind == nullptr && field != "arguments" && field != "params")
      return failure("the payload has the field '" + std::string(utf8_prefix(field, 64)) + "'; " + shape);
    if (kind == nullptr) continue;
    if (found != nullptr) return failure("the payload has two of 'tool', 'resource', 'prompt' and 'method'");
    found = kind;
  }
  if (found == nullptr) return failure(shape);
  return found;
}

/// Every one of `arguments` and `params` that is there belongs to the kind, and is an object.
Result<JsonText> find_arguments(const json& payload, const NamedKind& kind) {
  JsonText text;
  for (const char* field : {"arguments", "params"}) {
    const auto found = payload.find(field);
    if (found == payload.end() || found->is_null()) continue;
    const std::string quoted = "'" + std::string(field) + "'";
    if (!found->is_object()) return failure(quoted + " must be an object");
    if (kind.arguments == nullptr || std::string_view(kind.arguments) != field)
      return failure("a " + std::string(kind.name) + " has no " + quoted);
    text = to_text(*found);
  }
  return text;
}

Result<void> check_method(const std::string& name) {
  if (std::ranges::find(methods, name) != std::end(methods)) return {};
  std::string known;
  for (const std::string_view one : methods) known.append(known.empty() ? "" : ", ").append(one);
  return failure("'method' must be one of " + known);
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
  if (call.kind == McpCall::Kind::method) {
    if (const auto known = check_method(call.name); !known) return std::unexpected(known.error());
  }
  auto arguments = find_arguments(*parsed, **kind);
  if (!arguments) return std::unexpected(arguments.error());
  call.arguments = *std::move(arguments);
  return call;
}

}  // namespace kurultai
