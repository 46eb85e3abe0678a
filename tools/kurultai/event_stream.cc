#include "tools/kurultai/event_stream.h"

#include <utility>

namespace kurultai {

std::vector<StreamEvent> EventStream::feed(std::string_view bytes) {
  std::vector<StreamEvent> out;
  lines_.feed(bytes, [&](const LineSplitter::Line& line) {
    if (line.kind == LineSplitter::Kind::line) take_line(line.text, out);
    return true;
  });
  return out;
}

void EventStream::take_line(std::string_view line, std::vector<StreamEvent>& out) {
  if (line.empty()) {
    event_.id = last_id_;
    if (!event_.data.empty()) event_.data.pop_back();  // the newline of its last line
    if (!event_.data.empty() && !is_too_long_) out.push_back(std::move(event_));
    event_ = {};
    is_too_long_ = false;
    return;
  }
  const auto colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "event") event_.type = value;
  if (name == "id" && !value.contains('\0')) last_id_ = value;
  if (name != "data" || is_too_long_) return;
  is_too_long_ = event_.data.size() + value.size() > longest;
  if (!is_too_long_) event_.data.append(value) += '\n';
}

}  // namespace kurultai
