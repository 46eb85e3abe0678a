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
    if (section.empty() && prefix_.empty()) names.insert(names.end(), {"agents", "schedules"});
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

void read_schedule(const YamlNode& node, const std::string& path, const std::string& file, Config& config,
                   Findings& findings) {
  findings.given(path, {file, node.at});
  ScheduleConfig schedule;
  const std::size_t before = findings.count();
  SectionReader<ScheduleConfig> reader(schedule_settings(), path + ".", file, schedule, findings);
  reader.read(node, "", [](const YamlNode::Entry&) { return false; });
  if (findings.count() > before) findings.broken(path);
  if (schedule.name.empty()) schedule.name = schedule.agent;
  config.schedules.push_back(std::move(schedule));
}

}  // namespace

void read_schedules(const YamlNode& node, const std::string& file, Config& config, Findings& findings) {
  config.schedules.clear();
  if (node.kind == YamlNode::Kind::null) return;
  if (node.kind != YamlNode::Kind::sequence)
    return findings.refuse({file, node.at}, "schedules: expected a list, as in `- {agent: a, every: 30s}`");
  if (node.items.size() > most_schedules) {
    return findings.refuse({file, node.at},
                           "schedules: more than " + std::to_string(most_schedules) + " of them");
  }
  for (std::size_t i = 0; i < node.items.size(); ++i)
    read_schedule(node.items[i], "schedules." + std::to_string(i), file, config, findings);
}

void read_tree(const YamlNode& root, const std::string& file, Config& config, Findings& findings) {
  SectionReader<Config> reader(config_settings(), "", file, config, findings);
  reader.read(root, "", [&](const YamlNode::Entry& entry) {
    if (entry.key == "agents") read_agents(entry.value, file, config, findings);
    if (entry.key == "schedules") read_schedules(entry.value, file, config, findings);
    return entry.key == "agents" || entry.key == "schedules";
  });
}

}  // namespace kurultai
