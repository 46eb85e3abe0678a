#include "protocol/json_scanner.h"

#include <algorithm>

namespace kurultai {
namespace {

constexpr std::size_t key_limit = 64;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_plain_text(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

}  // namespace

JsonScanner::Event JsonScanner::step(char c) {
  if (depth_ > max_json_depth) return in_depth(c);
  switch (place_) {
    case Place::text:
      return in_text(c);
    case Place::escape:
    case Place::unicode:
      return in_escape(c);
    case Place::number:
      return in_number(c);
    case Place::word:
      if (word_.front() != c) return fail();
      word_.remove_prefix(1);
      return word_.empty() ? go_to(Place::after) : Event::none;
    case Place::broken:
      return Event::broken;
    case Place::value:
    case Place::element:
    case Place::first_key:
    case Place::next_key:
    case Place::colon:
    case Place::after:
      break;
  }
  if (is_blank(c)) return Event::none;
  switch (place_) {
    case Place::first_key:
      if (c == '}') return close(c);
      [[fallthrough]];
    case Place::next_key:
      if (c != '"') return fail();
      is_key_ = true;
      key_.clear();
      return go_to(Place::text);
    case Place::colon:
      if (c != ':') return fail();
      place_ = Place::value;
      return Event::colon;
    case Place::after:
      return behind_value(c);
    case Place::element:
      if (c == ']') return close(c);
      [[fallthrough]];
    default:
      return begin_value(c);
  }
}

std::size_t JsonScanner::plain_run(std::string_view text) const {
  if (place_ != Place::text || is_key_ || tail_left_ > 0 || depth_ > max_json_depth) return 0;
  return static_cast<std::size_t>(std::ranges::find_if_not(text, is_plain_text) - text.begin());
}

JsonScanner::Event JsonScanner::begin_value(char c) {
  switch (c) {
    case '{':
      return open(true);
    case '[':
      return open(false);
    case '"':
      is_key_ = false;
      return go_to(Place::text);
    case 't':
      word_ = "rue";
      return go_to(Place::word);
    case 'f':
      word_ = "alse";
      return go_to(Place::word);
    case 'n':
      word_ = "ull";
      return go_to(Place::word);
    default:
      break;
  }
  if (c != '-' && !is_digit(c)) return fail();
  digits_ = c == '-' ? Digits::minus : c == '0' ? Digits::zero : Digits::whole;
  return go_to(Place::number);
}

JsonScanner::Event JsonScanner::open(bool object) {
  if (++depth_ > max_json_depth) {
    too_deep_ = true;
    deep_text_ = deep_escape_ = false;
    return Event::none;
  }
  objects_[static_cast<std::size_t>(depth_ - 1)] = object;
  return go_to(object ? Place::first_key : Place::element);
}

JsonScanner::Event JsonScanner::close(char c) {
  if (depth_ == 0 || objects_[static_cast<std::size_t>(depth_ - 1)] != (c == '}')) return fail();
  --depth_;
  place_ = Place::after;
  return Event::closed;
}

JsonScanner::Event JsonScanner::behind_value(char c) {
  if (c == '}' || c == ']') return close(c);
  if (c != ',' || depth_ == 0) return fail();
  place_ = objects_[static_cast<std::size_t>(depth_ - 1)] ? Place::next_key : Place::value;
  return Event::comma;
}

JsonScanner::Event JsonScanner::in_text(char c) {
  if (!fits_utf8(static_cast<unsigned char>(c))) return fail();
  if (c == '"') return go_to(is_key_ ? Place::colon : Place::after);
  if (static_cast<unsigned char>(c) < 0x20) return fail();
  if (is_key_ && key_.size() < key_limit) key_ += c;
  return c == '\\' ? go_to(Place::escape) : Event::none;
}

JsonScanner::Event JsonScanner::in_escape(char c) {
  if (is_key_ && key_.size() < key_limit) key_ += c;
  if (place_ == Place::unicode) {
    if (!is_hex(c)) return fail();
    return --hex_left_ == 0 ? go_to(Place::text) : Event::none;
  }
  if (c == 'u') {
    hex_left_ = 4;
    return go_to(Place::unicode);
  }
  return std::string_view("\"\\/bfnrt").contains(c) ? go_to(Place::text) : fail();
}

JsonScanner::Event JsonScanner::in_number(char c) {
  const bool digit = is_digit(c);
  switch (digits_) {
    case Digits::minus:
      if (!digit) return fail();
      digits_ = c == '0' ? Digits::zero : Digits::whole;
      return Event::none;
    case Digits::zero:
    case Digits::whole:
      if (digit && digits_ == Digits::whole) return Event::none;
      if (digit) return fail();
      if (c == '.') return digits_ = Digits::point, Event::none;
      break;
    case Digits::point:
      return digit ? (digits_ = Digits::fraction, Event::none) : fail();
    case Digits::fraction:
      if (digit) return Event::none;
      break;
    case Digits::e:
      if (c == '+' || c == '-') return digits_ = Digits::sign, Event::none;
      [[fallthrough]];
    case Digits::sign:
      return digit ? (digits_ = Digits::exponent, Event::none) : fail();
    case Digits::exponent:
      if (digit) return Event::none;
      break;
  }
  if ((c == 'e' || c == 'E') && digits_ != Digits::exponent) return digits_ = Digits::e, Event::none;
  place_ = Place::after;  // and the byte belongs to what surrounds the number
  return is_blank(c) ? Event::none : behind_value(c);
}

JsonScanner::Event JsonScanner::in_depth(char c) {
  if (deep_escape_) return deep_escape_ = false, Event::none;
  if (deep_text_ && c == '\\') return deep_escape_ = true, Event::none;
  if (c == '"') deep_text_ = !deep_text_;
  if (deep_text_) return Event::none;
  if (c == '{' || c == '[') ++depth_;
  if (c != '}' && c != ']') return Event::none;
  if (--depth_ == max_json_depth) place_ = Place::after;
  return Event::closed;
}

/// Whether the byte continues the text as RFC 3629 has it.
bool JsonScanner::fits_utf8(unsigned char c) {
  if (tail_left_ > 0) {
    const bool fits = c >= tail_low_ && c <= tail_high_;
    --tail_left_;
    tail_low_ = 0x80;
    tail_high_ = 0xbf;
    return fits;
  }
  if (c < 0x80) return true;
  if (c < 0xc2 || c > 0xf4) return false;
  tail_left_ = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
  if (c == 0xe0) tail_low_ = 0xa0;   // no overlong forms,
  if (c == 0xed) tail_high_ = 0x9f;  // no surrogates,
  if (c == 0xf0) tail_low_ = 0x90;
  if (c == 0xf4) tail_high_ = 0x8f;  // nothing above U+10FFFF
  return true;
}

}  // namespace kurultai
