// Writes one message as a line of JSON, straight into a string. Field names are literals, never escaped.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace kurultai {

class LineWriter {
 public:
  /// `expected_size` of the texts and values to come saves growing the line step by step.
  explicit LineWriter(std::string_view type, std::size_t expected_size = 0);
  /// An object without a type.
  explicit LineWriter(std::size_t expected_size = 0);

  LineWriter& text(std::string_view name, std::string_view value);
  LineWriter& flag(std::string_view name, bool value);
  LineWriter& whole(std::string_view name, std::integral auto value) {
    return plain(name, std::to_string(value));
  }
  /// A value that is not finite has no JSON form and becomes 0.
  LineWriter& real(std::string_view name, double value);
  /// `json` goes out as it is (null when it is empty), but for newlines, which can only stand between its
  /// tokens: they become blanks.
  LineWriter& raw(std::string_view name, std::string_view json);

  /// The finished line, newline included. Called once, last.
  std::string line();
  /// The same as an object inside another text, without the newline.
  std::string object();

 private:
  std::string_view before_name() const { return line_.size() == 1 ? "\"" : ",\""; }
  void put(std::initializer_list<std::string_view> parts);
  LineWriter& plain(std::string_view name, std::string_view json);

  std::string line_;
};

}  // namespace kurultai
