// Typed reading of one message's JSON object. The first fault is kept and names the type and the field, so a
// decoder lists its fields without testing each of them; after a fault the values do not matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kurultai {

class Fields {
 public:
  static constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  static constexpr std::size_t uncut = std::string::npos;

  /// `type` and `object` must outlive this. Texts are moved out of `object`.
  Fields(std::string_view type, nlohmann::json& object) : type_(type), object_(object) {}

  // Required.
  std::string text(std::string_view name, std::size_t limit = uncut);  // cut to `limit` bytes
  std::string id(std::string_view name);                               // a text or a number
  std::string text_of_anything(std::string_view name, std::size_t limit);
  double number(std::string_view name);
  std::int64_t whole(std::string_view name, std::int64_t low = 0, std::int64_t high = most);
  std::uint64_t sequence(std::string_view name);
  std::string value(std::string_view name);  // compact text

  // May be absent, or null.
  std::string text_or(std::string_view name, std::string_view fallback, std::size_t limit = uncut);
  std::int64_t whole_or(std::string_view name, std::int64_t fallback, std::int64_t low = 0,
                        std::int64_t high = most);
  bool flag_or(std::string_view name, bool fallback);
  std::optional<std::int64_t> whole_if_any(std::string_view name);
  std::vector<std::string> texts_if_any(std::string_view name);

  /// Two texts of each object in a required list, of the first `limit`; what is no text is an empty one.
  std::vector<std::pair<std::string, std::string>> pairs(std::string_view name, std::string_view first,
                                                         std::string_view second, std::size_t limit);

  /// Empty when absent, and `null` for null, which is a value.
  std::string value_if_any(std::string_view name);

  bool has(std::string_view name) const;
  /// The value of a field that only one kind of agent is meant to send: nothing when it is absent or makes no
  /// sense.
  std::optional<std::int64_t> whole_if_sound(std::string_view name, std::int64_t high = most) const;
  std::optional<std::string> text_if_sound(std::string_view name) const;

  void fault(std::string_view name, std::string_view what);
  /// `PROGRESS: percent is missing`; empty when all went well.
  const std::string& why() const { return why_; }

 private:
  nlohmann::json* find(std::string_view name) const;
  nlohmann::json* required(std::string_view name);
  void wrong_type(std::string_view name, const nlohmann::json& value, std::string_view wanted);
  std::int64_t whole_of(std::string_view name, const nlohmann::json& value, std::int64_t low,
                        std::int64_t high);

  std::string_view type_;
  nlohmann::json& object_;
  std::string why_;
};

}  // namespace kurultai
