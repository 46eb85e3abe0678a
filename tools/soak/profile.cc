#include "tools/soak/profile.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

#include "config/findings.h"
#include "config/near_name.h"
#include "config/reading.h"
#include "config/settings.h"
#include "config/yaml_tree.h"

namespace kurultai::soak {
namespace {

/// Takes a value out of a node, or says what is wrong with it.
using Taker = std::function<std::optional<std::string>(const YamlNode&)>;
using Keys = std::map<std::string, Taker>;

class Reader {
 public:
  Reader(std::string file, Findings& findings) : file_(std::move(file)), findings_(findings) {}

  void refuse(const YamlNode& node, const std::string& path, const std::string& text) {
    findings_.refuse({file_, node.at}, path + ": " + text);
  }

  /// A map of `keys`; those named in `needed` must be there.
  void read(const YamlNode& node, const std::string& path, const Keys& keys,
            const std::vector<std::string>& needed = {}) {
    const std::string prefix = path.empty() ? "" : path + ".";
    if (node.kind == YamlNode::Kind::map) {
      for (const YamlNode::Entry& entry : node.entries) read_entry(entry, prefix, keys);
    } else if (node.kind != YamlNode::Kind::null) {
      return findings_.refuse({file_, node.at}, (path.empty() ? "" : path + ": ") +
                                                    std::string("expected settings as `key: value`"));
    }
    for (const std::string& name : needed) {
      if (node.find(name) == nullptr)
        findings_.refuse({file_, {std::max(node.at.line, 1), std::max(node.at.column, 1)}},
                         prefix + name + ": is missing");
    }
  }

  const std::string& file() const { return file_; }
  Findings& findings() { return findings_; }

 private:
  void read_entry(const YamlNode::Entry& entry, const std::string& prefix, const Keys& keys) {
    const auto found = keys.find(entry.key);
    if (found != keys.end()) {
      if (auto wrong = found->second(entry.value)) {
        refuse(entry.value, prefix + entry.key, *wrong);
        findings_.broken(prefix + entry.key);
      }
      return;
    }
    std::vector<std::string> names;
    for (const auto& [name, taker] : keys) names.push_back(name);
    findings_.refuse({file_, entry.at},
                     "unknown key " + in_quotes(entry.key) + meant_or_known(entry.key, names));
  }

  std::string file_;
  Findings& findings_;
};

template <typename T>
Result<T> number_of(const YamlNode& node, T least, T most) {
  T value{};
  const char* const end = node.text.data() + node.text.size();
  const auto [stop, error] = std::from_chars(node.text.data(), end, value);
  if (node.kind != YamlNode::Kind::scalar || error != std::errc() || stop != end || !(value >= least) ||
      !(value <= most))
    return failure("expected a number from " + std::to_string(least) + " to " + std::to_string(most));
  return value;
}

Result<Bytes> bytes_of(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::scalar) return failure("expected a size such as 64MiB");
  return parse_bytes(node.text);
}

Result<Duration> duration_of(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::scalar) return failure("expected a duration such as 30s");
  return parse_duration(node.text);
}

/// Puts what `read` gives into `to`.
template <typename To, typename Read>
Taker take(To& to, const Read& read) {
  return [&to, read](const YamlNode& node) -> std::optional<std::string> {
    auto value = read(node);
    if (!value) return value.error().message;
    to = *std::move(value);
    return std::nullopt;
  };
}

template <typename T>
auto between(T least, T most) {
  return [least, most](const YamlNode& node) { return number_of<T>(node, least, most); };
}

/// `VALUE` or `[LOW, HIGH]`.
template <typename T, typename Read>
auto range(Read read) {
  return [read](const YamlNode& node) -> Result<Range<T>> {
    if (node.kind != YamlNode::Kind::sequence) {
      const auto one = read(node);
      if (!one) return std::unexpected(one.error());
      return Range<T>{*one, *one};
    }
    if (node.items.size() != 2) return failure("expected one value, or two as [LOW, HIGH]");
    const auto low = read(node.items[0]);
    const auto high = read(node.items[1]);
    if (!low) return std::unexpected(low.error());
    if (!high) return std::unexpected(high.error());
    if (*high < *low) return failure("the second is less than the first");
    return Range<T>{*low, *high};
  };
}

Result<std::string> word_of(const YamlNode& node, const std::vector<std::string>& words) {
  if (node.kind == YamlNode::Kind::scalar && std::ranges::find(words, node.text) != words.end())
    return node.text;
  std::string text = "expected";
  for (const std::string& word : words) text += (word == words.front() ? " " : ", ") + word;
  return failure(text);
}

Result<Runs> runs_of(const YamlNode& node) {
  const auto word = word_of(node, {"python", "node", "shell"});
  if (!word) return std::unexpected(word.error());
  return *word == "python" ? Runs::python : *word == "node" ? Runs::node : Runs::shell;
}

Result<bool> truth_of(const YamlNode& node) {
  const auto word = word_of(node, {"true", "false"});
  if (!word) return std::unexpected(word.error());
  return *word == "true";
}

Result<std::optional<Priority>> priority_of(const YamlNode& node) {
  const auto word = word_of(node, {"mixed", "critical", "high", "normal", "low", "heartbeat"});
  if (!word) return std::unexpected(word.error());
  return *word == "mixed" ? std::nullopt : parse_priority(*word);
}

constexpr int most_weight = 1000;
constexpr int most_count = 1'000'000;

TaskKind read_kind(Reader& reader, const YamlNode::Entry& entry) {
  TaskKind kind;
  kind.name = entry.key;
  const std::string path = "tasks." + in_quotes(entry.key);
  if (const std::string wrong = wrong_agent_name(entry.key); !wrong.empty())
    reader.findings().refuse({reader.file(), entry.at}, "tasks: " + wrong);
  const std::size_t before = reader.findings().count();
  reader.read(entry.value, path,
              {{"runs", take(kind.runs, runs_of)},
               {"weight", take(kind.weight, between(1, most_weight))},
               {"memory", take(kind.memory, range<Bytes>(bytes_of))},
               {"takes", take(kind.takes, range<Duration>(duration_of))},
               {"cap", take(kind.cap, bytes_of)},
               {"leaks", take(kind.leaks, truth_of)},
               {"keeps", take(kind.keeps, bytes_of)},
               {"max_tasks", take(kind.max_tasks, between(0, most_count))},
               {"retries", take(kind.retries, between(0, 1000))},
               {"priority", take(kind.priority, priority_of)}},
              {"runs", "takes"});
  if (reader.findings().count() > before || kind.leaks) return kind;
  const Bytes kept{kind.keeps.count * kind.max_tasks};
  const Bytes needed = kind.memory.high + kept + own_memory(kind.runs);
  if (needed > kind.cap)
    reader.refuse(entry.value, path + ".cap",
                  "it needs up to " + to_string(needed) +
                      " with its interpreter: it would die of its cap of " + to_string(kind.cap) +
                      ", which only who leaks may");
  if (kind.keeps.count > 0 && kind.max_tasks == 0)
    reader.refuse(entry.value, path + ".keeps", "needs max_tasks, or its worker comes to its cap");
  return kind;
}

void read_kinds(Reader& reader, const YamlNode& node, Profile& profile) {
  if (node.kind != YamlNode::Kind::map)
    return reader.refuse(node, "tasks", "expected kinds of tasks as `name: {settings}`");
  for (const YamlNode::Entry& entry : node.entries) profile.kinds.push_back(read_kind(reader, entry));
}

Keys criteria_keys(Criteria& wanted) {
  const auto count = between<std::int64_t>(0, most_count);
  return {{"tree_max", take(wanted.tree_max, bytes_of)},
          {"supervisor_max", take(wanted.supervisor_max, bytes_of)},
          {"growth_per_hour", take(wanted.growth_per_hour, bytes_of)},
          {"answer_p99", take(wanted.answer_p99, duration_of)},
          {"start_p99", take(wanted.start_p99, duration_of)},
          {"recovery", take(wanted.recovery, duration_of)},
          {"refused_most", take(wanted.refused_most, between(0.0, 1.0))},
          {"refused_fewest", take(wanted.refused_fewest, count)},
          {"rightful_fewest", take(wanted.rightful_fewest, count)},
          {"lost", take(wanted.lost, count)},
          {"duplicated", take(wanted.duplicated, count)},
          {"wrongful_kills", take(wanted.wrongful_kills, count)},
          {"failed", take(wanted.failed, count)},
          {"unexpected", take(wanted.unexpected, count)},
          {"fds", take(wanted.fds, count)},
          {"groups", take(wanted.groups, count)},
          {"left_behind", take(wanted.left_behind, count)}};
}

Keys chaos_keys(Profile& profile) {
  Keys keys;
  for (std::size_t i = 0; i < mischief_names.size(); ++i)
    keys.emplace(mischief_names[i], take(profile.chaos[i], duration_of));
  return keys;
}

/// The settings of kurultaid in the profile, checked as its own file is.
void read_supervisor(Reader& reader, const YamlNode& node, const Environment& environment, Config& config) {
  read_tree(node, reader.file(), config, reader.findings());
  read_environment(environment, config, reader.findings());
  check_config(reader.file(), config, reader.findings());
  if (!config.agents.empty() || !config.schedules.empty())
    reader.refuse(node, "supervisor", "agents and schedules are the soak's own");
}

void read_profile(Reader& reader, const YamlNode& root, const Environment& environment, Profile& profile) {
  const auto nested = [&](auto read) -> Taker {
    return [read](const YamlNode& node) -> std::optional<std::string> {
      read(node);
      return std::nullopt;
    };
  };
  const std::vector<std::string> patterns = {"even", "poisson"};
  const auto pattern = [patterns](const YamlNode& node) -> Result<Arrivals> {
    const auto word = word_of(node, patterns);
    if (!word) return std::unexpected(word.error());
    return *word == "even" ? Arrivals::even : Arrivals::poisson;
  };
  reader.read(
      root, "",
      {{"for", take(profile.length, duration_of)},
       {"warm_up", take(profile.warm_up, duration_of)},
       {"every", take(profile.every, duration_of)},
       {"arrivals", take(profile.arrivals, pattern)},
       {"supervisor", nested([&](const YamlNode& node) {
          read_supervisor(reader, node, environment, profile.supervisor);
        })},
       {"tasks", nested([&](const YamlNode& node) { read_kinds(reader, node, profile); })},
       {"chaos", nested([&](const YamlNode& node) { reader.read(node, "chaos", chaos_keys(profile)); })},
       {"criteria", nested([&](const YamlNode& node) {
          reader.read(node, "criteria", criteria_keys(profile.criteria));
        })}},
      {"for", "every", "tasks"});
  const auto positive = [&](const char* name, Duration value) {
    const YamlNode* const node = root.find(name);
    if (node != nullptr && value <= Duration(0) && !reader.findings().is_broken(name))
      reader.refuse(*node, name, "must be more than nothing");
  };
  positive("for", profile.length);
  positive("every", profile.every);
}

}  // namespace

Bytes own_memory(Runs runs) {
  switch (runs) {
    case Runs::python:
      return mebibytes(32);
    case Runs::node:
      return mebibytes(96);
    case Runs::shell:
      return mebibytes(16);
  }
  return {};
}

std::string_view to_string(Runs runs) {
  switch (runs) {
    case Runs::python:
      return "python";
    case Runs::node:
      return "node";
    case Runs::shell:
      return "shell";
  }
  return "";
}

ConfigResult<Profile> parse_profile(std::string_view text, const std::string& file,
                                    const Environment& environment) {
  Profile profile;
  Findings findings;
  std::vector<YamlMistake> mistakes;
  const auto tree = parse_yaml(text, mistakes);
  for (const YamlMistake& mistake : mistakes) findings.refuse({file, mistake.at}, mistake.text);
  if (tree) {
    Reader reader(file, findings);
    read_profile(reader, *tree, environment, profile);
  }
  if (findings.count() > 0) return std::unexpected(findings.take_errors());
  return profile;
}

void compress(Profile& profile, double scale) {
  const auto shorten = [scale](Duration& time) {
    if (time > Duration(0))
      time = std::max(Duration(1),
                      Duration(static_cast<std::int64_t>(static_cast<double>(time.count()) / scale)));
  };
  shorten(profile.length);
  shorten(profile.warm_up);
  shorten(profile.every);
  for (Duration& often : profile.chaos) shorten(often);
  for (TaskKind& kind : profile.kinds) {
    shorten(kind.takes.low);
    shorten(kind.takes.high);
  }
}

}  // namespace kurultai::soak
