#include <algorithm>
#include <utility>

#include "config/near_name.h"
#include "config/reading.h"
#include "config/settings.h"

namespace kurultai {
namespace {

/// Reads a map of settings into a Config or an AgentConfig.
template <typename Root>
class SectionReader {
 public:
  SectionReader(const std::vector<Setting<Root>>& table, std::string prefix, const std::string& file,
                Root& root, Findings& findings)
      : table_(table), prefix_(std::move(prefix)), file_(file), root_(root), findings_(findings) {}

  /// `section` is "" for the top. What `other(entry)` takes (true) is no setting of the table and no mistake.
  template <typename Other>
  void read(const YamlNode& node, const std::string& section, const Other& other) {
    if (node.kind == YamlNode::Kind::null) return;  // `memory:` with every line below it commented out
    if (node.kind != YamlNode::Kind::map) return refuse_section(node, without_dot(prefix_ + section));
    for (const YamlNode::Entry& entry : node.entries) read_entry(entry, section, other);
  }

 private:
  static std::string without_dot(std::string name) {
    if (name.ends_with('.')) name.pop_back();
    return name;
  }

  static std::string join(const std::string& section, const std::string& key) {
    return section.empty() ? key : section + "." + key;
  }

  template <typename Other>
  void read_entry(const YamlNode::Entry& entry, const std::string& section, const Other& other) {
    const std::string path = join(section, entry.key);
    const auto names = names_in(section);
    const bool known = std::find(names.begin(), names.end(), entry.key) != names.end();
    const auto setting =
        std::find_if(table_.begin(), table_.end(), [&](const auto& row) { return row.path == path; });
    if (section.empty() && other(entry)) return;
    if (!known) return refuse_key(entry, section, names);
    if (setting == table_.end()) return read(entry.value, path, other);
    read_setting(*setting, entry.value);
  }

  void refuse_section(const YamlNode& node, const std::string& path) {
    const std::string where = path.empty() ? "" : path + ": ";
    findings_.refuse({file_, node.at}, where + "expected settings as `key: value`");
    findings_.broken(path);
  }

  void read_setting(const Setting<Root>& setting, const YamlNode& value) {
    const std::string path = prefix_ + setting.path;
    findings_.given(path, {file_, value.at});
    for (std::size_t i = 0; i < value.items.size(); ++i) {
      findings_.given(path + "." + std::to_string(i), {file_, value.items[i].at});
    }
    const std::size_t before = findings_.count();
    setting.read(value, root_, [&](Position at, const std::string& text) {
      findings_.refuse({file_, at}, path + ": " + text);
    });
    if (findings_.count() > before) findings_.broken(path);
  }

  std::vector<std::string> names_in(const std::string& section) const {
    std::vector<std::string> names;
    const std::string start = section.empty() ? "" : section + ".";
    for (const auto& setting : table_) {
      if (!setting.path.starts_with(start)) continue;
      std::string name = setting.path.substr(start.size());
      name.resize(std::min(name.find('.'), name.size()));
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
    }
    return names;
  }

  void refuse_key(const YamlNode::Entry& entry, const std::string& section, std::vector<std::string> names) {
    if (section.empty() && prefix_.empty()) {
      names.emplace_back("agents");
      names.insert(names.end(), list_keys().begin(), list_keys().end());
    }
    findings_.refuse({file_, entry.at},
                     "unknown key " + in_quotes(entry.key) + meant_or_known(entry.key, names));
  }

  const std::vector<Setting<Root>>& table_;
  std::string prefix_;  // of paths in messages
  const std::string& file_;
  Root& root_;
  Findings& findings_;
};

void read_agent(const YamlNode::Entry& entry, const std::string& file, Config& config, Findings& findings) {
  const std::string wrong = wrong_agent_name(entry.key);
  if (!wrong.empty()) findings.refuse({file, entry.at}, "agents: " + wrong);
  findings.given("agents." + entry.key, {file, entry.at});
  AgentConfig agent;
  agent.name = entry.key;
  const std::string shown = wrong.empty() ? entry.key : in_quotes(entry.key);
  SectionReader<AgentConfig> reader(agent_settings(), "agents." + shown + ".", file, agent, findings);
  reader.read(entry.value, "", [](const YamlNode::Entry&) { return false; });
  if (wrong.empty()) config.agents.emplace(entry.key, std::move(agent));
}

void read_agents(const YamlNode& node, const std::string& file, Config& config, Findings& findings) {
  if (node.kind == YamlNode::Kind::null) return;
  if (node.kind != YamlNode::Kind::map) {
    findings.refuse({file, node.at}, "agents: expected agents as `name: {settings}`");
    return;
  }
  for (const YamlNode::Entry& entry : node.entries) read_agent(entry, file, config, findings);
}

/// Of schedules or publishers, which are lists of maps of settings.
template <typename Item>
struct ListRule {
  std::string_view key;
  std::string_view example;
  std::size_t most;
  const std::vector<Setting<Item>>& settings;
  void (*complete)(Item& item);  // what was left out
};

template <typename Item>
void read_item(const ListRule<Item>& rule, const YamlNode& node, const std::string& path,
               const std::string& file, std::vector<Item>& list, Findings& findings) {
  findings.given(path, {file, node.at});
  Item item;
  const std::size_t before = findings.count();
  SectionReader<Item> reader(rule.settings, path + ".", file, item, findings);
  reader.read(node, "", [](const YamlNode::Entry&) { return false; });
  if (findings.count() > before) findings.broken(path);
  rule.complete(item);
  list.push_back(std::move(item));
}

template <typename Item>
void read_items(const ListRule<Item>& rule, const YamlNode& node, const std::string& file,
                std::vector<Item>& list, Findings& findings) {
  list.clear();
  const std::string key(rule.key);
  if (node.kind == YamlNode::Kind::null) return;
  if (node.kind != YamlNode::Kind::sequence) {
    return findings.refuse({file, node.at},
                           key + ": expected a list, as in `- " + std::string(rule.example) + "`");
  }
  if (node.items.size() > rule.most)
    return findings.refuse({file, node.at}, key + ": more than " + std::to_string(rule.most) + " of them");
  for (std::size_t i = 0; i < node.items.size(); ++i)
    read_item(rule, node.items[i], key + "." + std::to_string(i), file, list, findings);
}

using ListReader = void (*)(const YamlNode& node, const std::string& file, Config& config,
                            Findings& findings);

void read_schedules(const YamlNode& node, const std::string& file, Config& config, Findings& findings) {
  const ListRule<ScheduleConfig> rule{"schedules", "{agent: a, every: 30s}", most_schedules,
                                      schedule_settings(), [](ScheduleConfig& schedule) {
                                        if (schedule.name.empty()) schedule.name = schedule.agent;
                                      }};
  read_items(rule, node, file, config.schedules, findings);
}

void read_publishers(const YamlNode& node, const std::string& file, Config& config, Findings& findings) {
  const ListRule<PublisherConfig> rule{"publishers", "{type: webhook, url: https://ops.example.org/kurultai}",
                                       most_publishers, publisher_settings(), [](PublisherConfig& publisher) {
                                         if (publisher.name.empty()) publisher.name = "webhook";
                                       }};
  read_items(rule, node, file, config.publishers, findings);
}

constexpr std::pair<std::string_view, ListReader> lists[] = {{"schedules", read_schedules},
                                                             {"publishers", read_publishers}};

}  // namespace

const std::vector<std::string>& list_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> all;
    for (const auto& list : lists) all.emplace_back(list.first);
    return all;
  }();
  return keys;
}

void read_list(const std::string& key, const YamlNode& node, const std::string& file, Config& config,
               Findings& findings) {
  for (const auto& [name, read] : lists) {
    if (name == key) read(node, file, config, findings);
  }
}

void read_tree(const YamlNode& root, const std::string& file, Config& config, Findings& findings) {
  SectionReader<Config> reader(config_settings(), "", file, config, findings);
  reader.read(root, "", [&](const YamlNode::Entry& entry) {
    const bool is_list = std::ranges::find(list_keys(), entry.key) != list_keys().end();
    if (is_list) read_list(entry.key, entry.value, file, config, findings);
    if (entry.key == "agents") read_agents(entry.value, file, config, findings);
    return is_list || entry.key == "agents";
  });
}

}  // namespace kurultai
