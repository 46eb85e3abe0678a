#include "worker/long_answer.h"

#include <algorithm>
#include <charconv>

namespace kurultai {
namespace {

constexpr std::string_view blanks = " \t\r";

std::string_view without_blanks(std::string_view text) {
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

}  // namespace

void LongAnswer::feed(std::string_view piece) {
  using Event = JsonScanner::Event;
  bytes_ += Bytes{static_cast<std::int64_t>(piece.size())};
  std::size_t begin = 0;  // of what belongs to the member and was not taken yet
  for (std::size_t at = 0; at < piece.size(); ++at) {
    const Event event = scanner_.step(piece[at]);
    const int depth = scanner_.depth();
    if (event == Event::broken) {
      take(piece.substr(begin, at - begin));
      in_member_ = false;
      return;
    }
    if (event == Event::none) {
      if (in_flag_) is_error_.add(piece.substr(at, 1));
      at += scanner_.plain_run(piece.substr(at + 1));
    } else if (event == Event::colon && depth == 1) {
      begin_member();
      begin = at + 1;
    } else if (event == Event::colon && depth == 2) {
      begin_inner_member();
    } else if (event != Event::colon && depth <= 2) {
      in_flag_ = false;
      const bool ends_member = event == Event::comma ? depth == 1 : depth == 0;
      if (ends_member) end_member(piece.substr(begin, at - begin));
    }
  }
  take(piece.substr(begin));
}

void LongAnswer::begin_inner_member() {
  in_flag_ = in_member_ && member_ == Member::result && scanner_.key() == "isError";
  if (in_flag_) is_error_.text.clear();
}

void LongAnswer::begin_member() {
  const std::string& key = scanner_.key();
  in_member_ = true;
  member_ = Member::other;
  if (key == "method") has_method_ = true;
  if (key == "id") {
    member_ = Member::id;
    has_id_ = false;
    id_.text.clear();
  } else if (key == "error") {
    member_ = Member::error;
    error_.text.clear();
  } else if (key == "result") {
    member_ = Member::result;
    if (has_result_) trouble_ = "the answer has two results";
    has_result_ = true;
  }
}

void LongAnswer::end_member(std::string_view rest) {
  take(rest);
  has_id_ = has_id_ || (in_member_ && member_ == Member::id);
  in_member_ = false;
}

void LongAnswer::take(std::string_view bytes) {
  if (!in_member_ || bytes.empty()) return;
  if (member_ == Member::id) id_.add(bytes);
  if (member_ == Member::error) error_.add(bytes);
  if (member_ != Member::result) return;
  keep(bytes);
}

void LongAnswer::keep(std::string_view bytes) {
  if (beside_.empty() || !trouble_.empty()) return;
  if (!file_) {
    auto made = ReplyFile::make(beside_);
    if (!made) {
      trouble_ = made.error().message;
      return;
    }
    file_.emplace(std::move(*made));
  }
  const Bytes total = file_->size() + Bytes{static_cast<std::int64_t>(bytes.size())};
  if (limit_.count > 0 && total > limit_) {
    trouble_ = "result larger than " + to_string(limit_);
  } else if (const auto written = file_->append(bytes); !written) {
    trouble_ = written.error().message;
  }
  if (!trouble_.empty()) file_.reset();
}

void LongAnswer::Text::add(std::string_view piece) {
  if (text.empty()) piece.remove_prefix(std::min(piece.find_first_not_of(blanks), piece.size()));
  text.append(piece.substr(0, limit - text.size()));
}

bool LongAnswer::is_error() const { return without_blanks(is_error_.text) == "true"; }

std::string_view LongAnswer::error() const {
  const std::string_view text = without_blanks(error_.text);
  return text == "null" ? std::string_view() : text;
}

std::optional<std::int64_t> LongAnswer::id() const {
  const std::string_view text = without_blanks(id_.text);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (!has_id_ || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string LongAnswer::trouble() const {
  if (!trouble_.empty()) return trouble_;
  if (scanner_.is_too_deep()) return "nesting deeper than " + std::to_string(max_json_depth);
  if (!scanner_.is_complete()) return "the answer is not JSON";
  return {};
}

}  // namespace kurultai
