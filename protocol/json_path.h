// A place in JSON values of a known shape: `$.item.text`, `message.content[*].text`. Pure.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.h"

namespace kurultai {

class JsonPath {
 public:
  static constexpr std::size_t longest = 256;  // bytes
  static constexpr std::size_t most_steps = 16;
  static constexpr std::size_t most_found = 256;

  /// `$` is the value itself, and may be left out before a name. Then steps: `.name` (letters, digits, _ and
  /// -), `['any name']`, `[2]`, `[-1]` from the end, `[*]` every element of a list.
  static Result<JsonPath> parse(std::string_view text);

  /// What lies there, the first `most_found` of it in the order of the lists. null counts as absent.
  std::vector<const nlohmann::json*> find(const nlohmann::json& value) const;

  /// As it was written.
  const std::string& text() const { return text_; }
  bool operator==(const JsonPath& other) const { return text_ == other.text_; }

 private:
  struct Step {
    enum class Kind { member, element, each } kind = Kind::member;
    std::string name{};
    int index = 0;
  };
  struct Reader;

  void find_from(std::size_t step, const nlohmann::json& value,
                 std::vector<const nlohmann::json*>& found) const;

  std::string text_;
  std::vector<Step> steps_;
};

}  // namespace kurultai
