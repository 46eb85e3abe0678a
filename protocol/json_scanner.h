// Checks one JSON text that comes in pieces of any size, byte by byte and without holding it, and tells where
// its members begin and end: for lines too long to be parsed.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "protocol/json_text.h"

namespace kurultai {

class JsonScanner {
 public:
  enum class Event : unsigned char {
    none,
    colon,   // the value of the member key() begins behind this byte
    comma,   // a member or an element ended before this byte
    closed,  // the container that was at depth() + 1 ended with this byte, and what was in it before it
    broken,  // no JSON, or nothing was to follow; every later byte is broken too
  };

  Event step(char c);

  /// How many bytes at the beginning of `text` step() would take without an event: the plain inside of a
  /// text.
  std::size_t plain_run(std::string_view text) const;

  /// Open containers.
  int depth() const { return depth_; }
  /// Of the member whose colon came last, at any depth; cut to 64 bytes, escapes as they stand.
  const std::string& key() const { return key_; }
  /// Below max_json_depth brackets are counted and nothing else is checked.
  bool is_too_deep() const { return too_deep_; }
  /// Whether a whole value was read. One that is a number only its surroundings end.
  bool is_complete() const { return depth_ == 0 && place_ == Place::after; }

 private:
  enum class Place : unsigned char {
    value,      // a value must come
    element,    // a value or ]
    first_key,  // a key or }
    next_key,   // a key
    colon,      // behind a key
    after,      // behind a value
    text,       // inside of a string
    escape,     // behind a backslash
    unicode,    // hexadecimal digits are missing
    number,
    word,  // true, false, null
    broken,
  };
  enum class Digits : unsigned char { minus, zero, whole, point, fraction, e, sign, exponent };

  Event begin_value(char c);
  Event open(bool object);
  Event close(char c);
  Event behind_value(char c);
  Event in_text(char c);
  Event in_escape(char c);
  Event in_number(char c);
  Event in_depth(char c);
  bool fits_utf8(unsigned char c);
  Event fail() { return place_ = Place::broken, Event::broken; }
  Event go_to(Place place) { return place_ = place, Event::none; }

  Place place_ = Place::value;
  Digits digits_ = Digits::minus;
  bool is_key_ = false;
  bool too_deep_ = false;
  bool deep_text_ = false, deep_escape_ = false;  // below max_json_depth
  int depth_ = 0;
  int hex_left_ = 0;
  int tail_left_ = 0;                                 // bytes of a character that are missing
  unsigned char tail_low_ = 0x80, tail_high_ = 0xbf;  // what the next of them may be
  std::string_view word_;                             // what is missing of it
  std::array<bool, max_json_depth> objects_{};        // whether the container of each depth is one
  std::string key_;
};

}  // namespace kurultai
