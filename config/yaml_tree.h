// YAML text as a tree whose every node knows where it stands. Own, because yaml-cpp's nodes take duplicate
// keys silently, share what aliases name (a "billion laughs" file is small until it is walked) and know no
// bounds. Pure; no exception of yaml-cpp gets out.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kurultai {

struct Position {
  int line = 0;    // from 1; 0: unknown
  int column = 0;  // from 1, in bytes
};

struct YamlNode {
  struct Entry;
  enum class Kind { null, scalar, sequence, map };

  Kind kind = Kind::null;
  Position at;
  std::string text;             // of a scalar
  bool plain = false;           // a scalar without quotes: true, 5 and 0.7 mean themselves
  std::vector<YamlNode> items;  // of a sequence
  std::vector<Entry> entries;   // of a map, in the order of the text; no key comes twice

  const YamlNode* find(std::string_view key) const;
};

struct YamlNode::Entry {
  std::string key;
  Position at;
  YamlNode value;
};

/// A mistake in the text.
struct YamlMistake {
  Position at;
  std::string text;
};

inline constexpr std::size_t max_yaml_nodes = 100'000;  // what aliases stand for counts every time
inline constexpr std::size_t max_yaml_depth = 32;

/// One document, aliases replaced by copies; null for a text without any. Of duplicate keys the first counts
/// and each further one is a complaint. nullopt, with a complaint, when the text cannot be read as YAML at
/// all.
std::optional<YamlNode> parse_yaml(std::string_view text, std::vector<YamlMistake>& complaints);

/// `text` for a message: in single quotes, cut when long, control characters replaced.
std::string in_quotes(std::string_view text);

}  // namespace kurultai
