// Server-sent events (WHATWG HTML, 9.2) cut from a byte stream, whatever the sizes of the reads. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/line_splitter.h"

namespace kurultai {

struct StreamEvent {
  std::string type;  // `event:`
  std::string id;
  std::string data;  // `data:` lines, joined by newlines
};

class EventStream {
 public:
  static constexpr std::size_t longest = 1024UL * 1024;  // a line, and the data of an event

  /// The events that `bytes` completes. Comments, events without data and what is longer are dropped.
  std::vector<StreamEvent> feed(std::string_view bytes);

  /// To resume behind the last event after a lost connection; empty before the first.
  const std::string& last_id() const { return last_id_; }

 private:
  void take_line(std::string_view line, std::vector<StreamEvent>& out);

  LineSplitter lines_{longest};
  StreamEvent event_;  // each line of its data with a newline behind it
  bool is_too_long_ = false;
  std::string last_id_;
};

}  // namespace kurultai
