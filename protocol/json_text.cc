#include "protocol/json_text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "protocol/utf8.h"

namespace kurultai {
namespace {

using nlohmann::json;

// Builds the tree while the parser reads, and stops it at the first level too many: the parser itself does
// not recurse.
class TreeBuilder {
 public:
  explicit TreeBuilder(DuplicateKeys duplicates) : duplicates_(duplicates) {}

  json take_root() { return std::move(root_); }
  Error take_error() { return std::move(error_); }

  // What nlohmann's SAX interface asks for; false stops the parser.
  bool null() { return place(nullptr); }
  bool boolean(bool value) { return place(value); }
  bool number_integer(json::number_integer_t value) { return place(value); }
  bool number_unsigned(json::number_unsigned_t value) { return place(value); }
  bool number_float(json::number_float_t value, const std::string&) { return place(value); }
  bool string(std::string& value) { return place(std::move(value)); }
  bool binary(json::binary_t&) { return false; }  // not in JSON text
  bool start_object(std::size_t) { return open(json::value_t::object); }
  bool start_array(std::size_t) { return open(json::value_t::array); }
  bool end_object() { return --depth_, true; }
  bool end_array() { return --depth_, true; }
  bool key(std::string& name);
  bool parse_error(std::size_t position, const std::string& last_token, const json::exception& why);

 private:
  bool place(json value) { return add(std::move(value)), true; }
  json* add(json value);
  bool open(json::value_t kind);

  DuplicateKeys duplicates_;
  json root_;
  std::array<json*, max_json_depth> open_{};  // the containers that are not closed, outermost first
  int depth_ = 0;
  json* member_ = nullptr;  // where the value of the last key goes
  Error error_;
};

json* TreeBuilder::add(json value) {
  if (depth_ == 0) return &(root_ = std::move(value));
  json& parent = *open_[depth_ - 1];
  if (parent.is_array()) return &parent.get_ref<json::array_t&>().emplace_back(std::move(value));
  return &(*member_ = std::move(value));
}

bool TreeBuilder::open(json::value_t kind) {
  if (depth_ == max_json_depth) {
    error_ = {"nesting deeper than " + std::to_string(max_json_depth), ELOOP};
    return false;
  }
  open_[depth_] = add(json(kind));
  ++depth_;
  return true;
}

bool TreeBuilder::key(std::string& name) {
  auto& object = open_[depth_ - 1]->get_ref<json::object_t&>();
  const auto [member, is_new] = object.try_emplace(std::move(name));
  if (!is_new && duplicates_ == DuplicateKeys::refuse) {
    error_ = {"duplicate key \"" + std::string(utf8_prefix(member->first, 64)) + '"'};
    return false;
  }
  member_ = &member->second;
  return true;
}

// Of "[json.exception.parse_error.101] parse error at line 1, column 3: syntax error …" the part after the
// place.
std::string_view cause_in(std::string_view what) {
  what.remove_prefix(what.find("] ") + 2);
  if (what.starts_with("parse error")) what.remove_prefix(what.find(": ") + 2);
  return what;
}

bool TreeBuilder::parse_error(std::size_t position, const std::string&, const json::exception& why) {
  // The library quotes what it read last, which may be the whole text, and not UTF-8.
  const std::string_view cause = cause_in(why.what());
  error_ = {"byte " + std::to_string(position) + ": " + to_utf8(utf8_prefix(cause, 200))};
  return false;
}

void append_escape(std::string& out, char c) {
  constexpr std::string_view hex = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  out += "\\u00";
  out += hex[static_cast<unsigned char>(c) >> 4];
  out += hex[static_cast<unsigned char>(c) & 15];
}

bool needs_escape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

/// Whether eight bytes are all ASCII and none needs an escape. A byte below the limit borrows from its high
/// bit, and sets it.
bool are_plain(std::uint64_t eight) {
  constexpr std::uint64_t ones = 0x0101010101010101U;
  constexpr std::uint64_t high = 0x80 * ones;
  const auto below = [](std::uint64_t bytes, std::uint64_t limit) { return (bytes - limit * ones) & ~bytes; };
  const std::uint64_t found =
      eight | below(eight, 0x20) | below(eight ^ '"' * ones, 1) | below(eight ^ '\\' * ones, 1);
  return (found & high) == 0;
}

}  // namespace

Result<json> parse_json(std::string_view text, DuplicateKeys duplicates) {
  // The library takes a NUL for the end of the text, whatever comes after it.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos)
    return failure("byte " + std::to_string(nul + 1) + ": a NUL");
  TreeBuilder builder(duplicates);
  if (!json::sax_parse(text, &builder)) return std::unexpected(builder.take_error());
  return builder.take_root();
}

bool is_too_deep(const Error& error) { return error.code == ELOOP; }

std::string to_text(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::optional<std::int64_t> if_whole(const json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
    return std::nullopt;
  return value.get<std::int64_t>();
}

std::int64_t whole_of(const json& value) {
  if (const auto number = if_whole(value)) return *number;
  throw std::invalid_argument(to_text(value) + " is no whole number, or too large");
}

bool is_plain(std::string_view text) {
  std::uint64_t eight = 0;
  for (; text.size() >= sizeof eight; text.remove_prefix(sizeof eight)) {
    std::memcpy(&eight, text.data(), sizeof eight);
    if (!are_plain(eight)) return false;
  }
  return std::ranges::none_of(
      text, [](char c) { return needs_escape(c) || static_cast<unsigned char>(c) >= 0x80; });
}

void append_quoted(std::string& out, std::string_view text) {
  if (!is_utf8(text)) return append_quoted(out, to_utf8(text));
  out += '"';
  std::size_t plain = 0;  // where the run of bytes that need no escape began
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!needs_escape(text[i])) continue;
    out.append(text.substr(plain, i - plain));
    append_escape(out, text[i]);
    plain = i + 1;
  }
  out.append(text.substr(plain));
  out += '"';
}

}  // namespace kurultai
