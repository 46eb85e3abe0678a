// Types of the settings that make an agent's working place: env, tmp and sandbox.
#include "config/setting_types.h"

namespace kurultai {
namespace {

constexpr Size tmp_size{kibibytes(64), gibibytes(1 << 20)};
constexpr std::string_view hidden_value = "(hidden)";

const Choice<SandboxKind>& kinds() {
  static const Choice<SandboxKind> all{
      {{"none", SandboxKind::none}, {"bubblewrap", SandboxKind::bubblewrap}}};
  return all;
}

/// One that a map of settings does not have.
void refuse_key(const YamlNode::Entry& entry, std::string_view known, const Refuse& refuse) {
  refuse(entry.at, "unknown key " + in_quotes(entry.key) + "; known here: " + std::string(known));
}

std::optional<EnvValue> read_secret(const YamlNode& node, const Refuse& refuse) {
  const Text path{"a path", any_text, ""};
  if (node.entries.size() != 1 || node.entries[0].key != "file") {
    refuse(node.at, "expected a value, or {file: PATH} for one that stands in a file");
    return std::nullopt;
  }
  auto file = path.read(node.entries[0].value, refuse);
  if (!file) return std::nullopt;
  if (!file->starts_with('/')) {
    // Not what stands there: somebody may have written the secret itself.
    refuse(node.entries[0].at, "file: expected a path that starts with /");
    return std::nullopt;
  }
  return EnvValue::from_file(*std::move(file));
}

}  // namespace

std::optional<std::map<std::string, EnvValue>> Variables::read(const YamlNode& node, const Refuse& refuse) {
  if (node.kind != YamlNode::Kind::map) {
    refuse(node.at, expected_but("a map of variables such as {LANG: C}", kind_of(node)));
    return std::nullopt;
  }
  const Text value{"a value, \"\" for none", any_text, ""};
  std::map<std::string, EnvValue> all;
  for (const YamlNode::Entry& entry : node.entries) {
    const auto wrong = variable_name(entry.key);
    if (wrong) refuse(entry.at, *wrong);
    std::optional<EnvValue> one;
    if (entry.value.kind == YamlNode::Kind::map) {
      one = read_secret(entry.value, refuse);
    } else if (auto text = value.read(entry.value, refuse)) {
      one = EnvValue(*std::move(text));
    }
    if (!wrong && one) all.emplace(entry.key, *std::move(one));
  }
  if (all.size() != node.entries.size()) return std::nullopt;
  return all;
}

Json Variables::print(const std::map<std::string, EnvValue>& value) {
  Json all = Json::object();
  for (const auto& [name, one] : value) {
    if (one.file.empty()) {
      all[name] = one.text;
    } else {
      all[name] = {{"file", one.file}};
    }
  }
  return all;
}

Json Variables::schema() {
  const Json secret = {{"type", "object"},
                       {"properties", {{"file", {{"type", "string"}, {"pattern", "^/"}}}}},
                       {"required", {"file"}},
                       {"additionalProperties", false}};
  const Json text = {{"type", {"string", "number", "boolean"}}};
  return {{"type", "object"},
          {"propertyNames", {{"pattern", variable_pattern}}},
          {"additionalProperties", {{"anyOf", Json::array({text, secret})}}}};
}

void hide_values(Json& variables) {
  for (auto& [name, value] : variables.items()) {
    if (!value.is_object()) value = hidden_value;
  }
}

std::optional<TmpConfig> PrivateTmp::read(const YamlNode& node, const Refuse& refuse) {
  TmpConfig tmp;
  if (node.kind != YamlNode::Kind::map) {
    const auto index = read_choice(node, {"private", ""}, refuse);
    if (!index) return std::nullopt;
    tmp.is_private = *index == 0;
    return tmp;
  }
  tmp.is_private = true;
  bool good = true;
  for (const YamlNode::Entry& entry : node.entries) {
    if (entry.key == "private") {
      const auto flag = Flag::read(entry.value, refuse);
      good = good && flag;
      tmp.is_private = flag.value_or(true);
    } else if (entry.key == "size") {
      const auto size = tmp_size.read(entry.value, refuse);
      good = good && size;
      tmp.size = size.value_or(tmp.size);
    } else {
      refuse_key(entry, "private, size", refuse);
      good = false;
    }
  }
  return good ? std::optional(tmp) : std::nullopt;
}

Json PrivateTmp::print(const TmpConfig& value) {
  if (!value.is_private) return "";
  return {{"private", true}, {"size", Size::print(value.size)}};
}

Json PrivateTmp::schema() {
  const Json whole = {{"type", "object"},
                      {"properties", {{"private", Flag::schema()}, {"size", tmp_size.schema()}}},
                      {"additionalProperties", false}};
  return {{"anyOf", Json::array({{{"enum", {"", "private"}}}, whole})}};
}

std::optional<SandboxConfig> Sandbox::read(const YamlNode& node, const Refuse& refuse) {
  SandboxConfig sandbox;
  if (node.kind != YamlNode::Kind::map) {
    const auto kind = kinds().read(node, refuse);
    if (!kind) return std::nullopt;
    sandbox.kind = *kind;
    return sandbox;
  }
  sandbox.kind = SandboxKind::bubblewrap;
  bool good = true;
  for (const YamlNode::Entry& entry : node.entries) {
    if (entry.key == "kind") {
      const auto kind = kinds().read(entry.value, refuse);
      good = good && kind;
      sandbox.kind = kind.value_or(sandbox.kind);
    } else if (entry.key == "network") {
      const auto flag = Flag::read(entry.value, refuse);
      good = good && flag;
      sandbox.network = flag.value_or(false);
    } else {
      refuse_key(entry, "kind, network", refuse);
      good = false;
    }
  }
  return good ? std::optional(sandbox) : std::nullopt;
}

Json Sandbox::print(const SandboxConfig& value) {
  if (value.kind == SandboxKind::none) return kinds().print(value.kind);
  return {{"kind", kinds().print(value.kind)}, {"network", value.network}};
}

Json Sandbox::schema() {
  const Json whole = {{"type", "object"},
                      {"properties", {{"kind", kinds().schema()}, {"network", Flag::schema()}}},
                      {"additionalProperties", false}};
  return {{"anyOf", Json::array({kinds().schema(), whole})}};
}

}  // namespace kurultai
