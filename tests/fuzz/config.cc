// Whatever stands in a configuration, it is read within bounds; all its mistakes are told at once, each with
// its place; and what was understood is shown as a file that means the same.
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"
#include "config/yaml_tree.h"
#include "protocol/utf8.h"
#include "tests/fuzz/check.h"

using namespace kurultai;

namespace {

std::optional<std::string> no_variables(std::string_view) { return std::nullopt; }

ConfigResult<Config> read(std::string_view text) { return parse_config(text, "f", no_variables); }

bool is_one_line(std::string_view text) {
  return !text.empty() && is_utf8(text) && std::ranges::none_of(text, [](char c) { return c == '\n'; });
}

void told_well(const std::vector<ConfigError>& errors, std::string_view text) {
  const auto lines = static_cast<int>(std::ranges::count(text, '\n')) + 1;
  HOLDS(!errors.empty() && errors.size() <= 101);
  for (const ConfigError& error : errors) {
    HOLDS(error.file == "f" && is_one_line(error.text));
    HOLDS(error.line >= 0 && error.line <= lines && (error.line == 0 || error.column >= 1));
  }
}

void same(const Config& a, const Config& b) {
  HOLDS(config_to_json(a) == config_to_json(b));
  for (const auto& [name, agent] : a.agents) {
    if (!agent.env.empty()) return;  // values are not shown, so that they are others
  }
  const ConfigChange change = compare(a, b);
  HOLDS(change.live.empty() && change.needs_restart.empty());
}

void is_shown_well(const Config& config) {
  const std::string yaml = config_to_yaml(config), json = config_to_json(config);
  HOLDS(nlohmann::json::accept(json));
  for (const std::string& shown : {yaml, json}) {
    const auto again = read(shown);
    HOLDS(again.has_value());
    same(config, *again);
  }
  HOLDS(config_to_yaml(*read(yaml)) == yaml);
  for (const auto& [name, agent] : config.agents) HOLDS(!changed_settings(agent).empty());
}

bool is_block_map(std::string_view text) {
  std::vector<YamlMistake> complaints;
  const auto tree = parse_yaml(text, complaints);
  return tree && tree->kind == YamlNode::Kind::map && !tree->entries.empty();
}

/// One more mistake, on lines of its own, is one more error: none hides another.
void one_more_mistake_is_one_more(std::string_view text, std::size_t errors) {
  const std::string more = std::string(text) + "\nfuzzed_and_unknown: 1\n";
  if (errors >= 100 || text.contains("fuzzed_and_unknown") || !is_block_map(text) || !is_block_map(more))
    return;
  const auto again = read(more);
  HOLDS(!again && again.error().size() == errors + 1);
}

void is_bounded(const YamlNode& node, std::size_t depth, std::size_t& nodes) {
  HOLDS(depth <= max_yaml_depth && ++nodes <= max_yaml_nodes);
  HOLDS(node.kind == YamlNode::Kind::sequence || node.items.empty());
  HOLDS(node.kind == YamlNode::Kind::map || node.entries.empty());
  for (const YamlNode& item : node.items) is_bounded(item, depth + 1, nodes);
  for (const YamlNode::Entry& entry : node.entries) {
    HOLDS(node.find(entry.key) == &entry.value);  // no key comes twice
    is_bounded(entry.value, depth + 1, nodes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<YamlMistake> complaints;
  std::size_t nodes = 0;
  const auto tree = parse_yaml(text, complaints);
  HOLDS(tree || !complaints.empty());
  if (tree) is_bounded(*tree, 1, nodes);
  const auto config = read(text);
  HOLDS(!config || complaints.empty());
  if (config) is_shown_well(*config);
  if (!config) told_well(config.error(), text);
  if (tree) one_more_mistake_is_one_more(text, config ? 0 : config.error().size());
  return 0;
}
