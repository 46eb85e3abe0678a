#include "config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <exception>
#include <map>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "protocol/utf8.h"

namespace kurultai {
namespace {

Position position_of(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {mark.line + 1, mark.column + 1};
}

/// The line behind the text is the last that an editor shows; the end mark makes one more.
Position inside(int last, Position at) { return at.line <= last ? at : Position{last, 1}; }

/// Ends the parse from inside yaml-cpp's callbacks; caught in parse_yaml.
struct Stop {
  YamlMistake complaint;
};

struct Extent {
  std::size_t nodes = 1;
  std::size_t depth = 1;
};

// Recursion is safe: no tree gets deeper than max_yaml_depth.
Extent extent_of(const YamlNode& node) {
  Extent extent;
  const auto add = [&extent](const YamlNode& child) {
    const Extent inner = extent_of(child);
    extent.nodes += inner.nodes;
    extent.depth = std::max(extent.depth, inner.depth + 1);
  };
  for (const YamlNode& item : node.items) add(item);
  for (const YamlNode::Entry& entry : node.entries) add(entry.value);
  return extent;
}

/// Builds the tree from yaml-cpp's events. The stack is a vector: depth costs no stack of the process.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view end_mark, int last_line, std::vector<YamlMistake>& complaints)
      : end_mark_(end_mark), last_line_(last_line), complaints_(complaints) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0)
      throw Stop{{position_of(mark), "a second document starts here; one file holds one"}};
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(leaf(YamlNode::Kind::null, mark), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_tag(mark, tag);
    if (value.find(end_mark_) != std::string::npos)
      throw Stop{{position_of(mark), "this quote is never closed"}};
    YamlNode node = leaf(YamlNode::Kind::scalar, mark);
    node.text = value;
    node.plain = tag == "?";
    add(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end())
      throw Stop{{position_of(mark), "an alias cannot stand inside what it names"}};
    const Extent extent = extent_of(found->second);
    count(extent.nodes, mark);
    if (open_.size() + extent.depth > max_yaml_depth) too_deep(mark);
    add(found->second, 0);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::sequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    bool has_key = false;  // of a map: the next node is the value of `key`
    std::string key;
    Position key_at;
    std::unordered_map<std::string, Position> seen;
  };

  static void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    throw Stop{{position_of(mark), "the tag " + in_quotes(tag) + " is not supported"}};
  }

  [[noreturn]] static void too_deep(const YAML::Mark& mark) {
    throw Stop{{position_of(mark), "nested deeper than " + std::to_string(max_yaml_depth) + " levels"}};
  }

  void count(std::size_t nodes, const YAML::Mark& mark) {
    nodes_ += nodes;
    if (nodes_ > max_yaml_nodes) {
      throw Stop{{position_of(mark), "more than " + std::to_string(max_yaml_nodes) +
                                         " values, those counted that aliases stand for"}};
    }
  }

  YamlNode leaf(YamlNode::Kind kind, const YAML::Mark& mark) {
    count(1, mark);
    YamlNode node;
    node.kind = kind;
    node.at = inside(last_line_, position_of(mark));
    return node;
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    refuse_tag(mark, tag);
    if (open_.size() >= max_yaml_depth) too_deep(mark);
    Frame frame;
    frame.node = leaf(kind, mark);
    frame.anchor = anchor;
    open_.push_back(std::move(frame));
  }

  void close() {
    Frame frame = std::move(open_.back());
    open_.pop_back();
    add(std::move(frame.node), frame.anchor);
  }

  void add(YamlNode node, YAML::anchor_t anchor) {
    if (anchor != 0) keep_anchor(node, anchor);
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (Frame& frame = open_.back(); frame.node.kind == YamlNode::Kind::sequence) {
      frame.node.items.push_back(std::move(node));
    } else if (frame.has_key) {
      add_value(frame, std::move(node));
    } else {
      take_key(frame, node);
    }
  }

  // The copy counts too: anchors inside anchors would otherwise keep each node once a level.
  void keep_anchor(const YamlNode& node, YAML::anchor_t anchor) {
    nodes_ += extent_of(node).nodes;
    if (nodes_ > max_yaml_nodes) throw Stop{{node.at, "anchors name too many values"}};
    anchors_.insert_or_assign(anchor, node);
  }

  static void take_key(Frame& frame, const YamlNode& node) {
    if (node.kind != YamlNode::Kind::scalar) throw Stop{{node.at, "a key must be a word"}};
    frame.key = node.text;
    frame.key_at = node.at;
    frame.has_key = true;
  }

  void add_value(Frame& frame, YamlNode value) {
    frame.has_key = false;
    // An absent value is marked by yaml-cpp where the next thing starts, often on another line.
    if (value.kind == YamlNode::Kind::null) value.at = frame.key_at;
    const auto [first, is_new] = frame.seen.try_emplace(frame.key, frame.key_at);
    if (is_new) {
      frame.node.entries.push_back({std::move(frame.key), frame.key_at, std::move(value)});
    } else {
      complaints_.push_back({frame.key_at, "the key " + in_quotes(first->first) +
                                               " is given twice, first in line " +
                                               std::to_string(first->second.line)});
    }
  }

  std::string_view end_mark_;
  int last_line_;
  std::vector<YamlMistake>& complaints_;
  YamlNode root_;
  std::vector<Frame> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  std::size_t nodes_ = 0;
  int documents_ = 0;
};

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 && c != '\t' && c != '\n' && c != '\r';
}

/// What yaml-cpp must not see. It takes the byte 4 for the end of the input, so what follows would be ignored
/// without a word; and it keeps a token for each of `[{,:?` of a line until it knows whether the line is a
/// key, 230 bytes each (measured: 0.9 GB for 4 MiB of `[`). No line of a configuration holds that many.
std::optional<YamlMistake> unfit_line(std::string_view content, int line) {
  const auto bad = std::find_if(content.begin(), content.end(), is_control);
  if (bad != content.end()) {
    return YamlMistake{{line, static_cast<int>(bad - content.begin()) + 1},
                       "a control character (byte " + std::to_string(static_cast<unsigned char>(*bad)) + ")"};
  }
  if (!is_utf8(content)) return YamlMistake{{line, 1}, "the line is not UTF-8"};
  const auto marks = std::count_if(content.begin(), content.end(), [](char c) {
    return std::string_view("[{,:?").find(c) != std::string_view::npos;
  });
  if (static_cast<std::size_t>(marks) <= max_yaml_nodes) return std::nullopt;
  return YamlMistake{{line, 1}, "more than " + std::to_string(max_yaml_nodes) + " values in one line"};
}

std::optional<YamlMistake> unfit_text(std::string_view text) {
  for (int line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (auto complaint = unfit_line(text.substr(0, end), line)) return complaint;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

/// A comment that follows the text. yaml-cpp lets the end of the input close a quote, which would swallow all
/// that follows it; then this comment is inside the quotes.
std::string end_mark_for(std::string_view text) {
  std::string mark = "#end-of-the-configuration";
  while (text.find(mark) != std::string_view::npos) mark += '-';
  return mark;
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

std::optional<YamlNode> parse_yaml(std::string_view text, std::vector<YamlMistake>& complaints) {
  if (auto unfit = unfit_text(text)) {
    complaints.push_back(*std::move(unfit));
    return std::nullopt;
  }
  const auto last_line = static_cast<int>(std::count(text.begin(), text.end(), '\n')) + 1;
  try {
    const std::string end_mark = end_mark_for(text);
    std::istringstream input{
        std::string(text).append(text.ends_with('\n') ? "" : "\n").append(end_mark).append("\n")};
    YAML::Parser parser(input);
    TreeBuilder builder(end_mark, last_line, complaints);
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.take();
  } catch (Stop& stop) {
    complaints.push_back({inside(last_line, stop.complaint.at), std::move(stop.complaint.text)});
  } catch (const YAML::Exception& error) {
    complaints.push_back({inside(last_line, position_of(error.mark)), "not YAML: " + error.msg});
  } catch (const std::exception& error) {
    complaints.push_back({{}, std::string("not YAML: ") + error.what()});
  }
  return std::nullopt;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::string shown = to_utf8(utf8_prefix(text, longest));
  std::replace_if(shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  if (text.size() > longest) shown += "…";
  return "'" + shown + "'";
}

}  // namespace kurultai
