// However a stream of events is cut into reads, EventStream gives those that a reader of the whole sees; and
// an event that the supervisor writes comes back.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/check.h"
#include "tools/kurultai/event_stream.h"

using namespace kurultai;

namespace {

bool same(const std::vector<StreamEvent>& a, const std::vector<StreamEvent>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].type != b[i].type || a[i].id != b[i].id || a[i].data != b[i].data) return false;
  return true;
}

struct Seen {
  std::vector<StreamEvent> events;
  std::string last_id;
};

Seen in_steps(std::string_view bytes, std::size_t step) {
  EventStream stream;
  Seen seen;
  for (std::size_t at = 0; at < bytes.size(); at += step)
    for (StreamEvent& event : stream.feed(bytes.substr(at, step))) seen.events.push_back(std::move(event));
  seen.last_id = stream.last_id();
  return seen;
}

/// By WHATWG HTML, 9.2.6; lines end with LF or CRLF, as all of ours do.
std::vector<StreamEvent> expected(std::string_view bytes) {
  std::vector<StreamEvent> events;
  StreamEvent event;
  std::string id;
  for (std::size_t end = 0; (end = bytes.find('\n')) != std::string_view::npos;
       bytes.remove_prefix(end + 1)) {
    std::string_view line = bytes.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (line.empty()) {
      event.id = id;
      if (event.data.ends_with('\n')) event.data.pop_back();
      if (!event.data.empty()) events.push_back(event);
      event = {};
    } else if (name == "event") {
      event.type = value;
    } else if (name == "id" && !value.contains('\0')) {
      id = value;
    } else if (name == "data") {
      event.data.append(value).append("\n");
    }
  }
  return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Seen whole = in_steps(bytes, size + 1);
  HOLDS(same(whole.events, expected(bytes)));
  for (const std::size_t step : {1, 2, 3, 7}) {
    const Seen cut = in_steps(bytes, step);
    HOLDS(same(cut.events, whole.events) && cut.last_id == whole.last_id);
  }
  return 0;
}
