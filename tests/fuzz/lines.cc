// However a stream is cut into reads, LineSplitter gives the lines that a reader of the whole would see.
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/line_splitter.h"
#include "tests/fuzz/check.h"

using namespace kurultai;

namespace {

struct Seen {
  std::vector<std::string> lines;  // "+" and the text, or "too long"
  std::string rest;
  bool operator==(const Seen&) const = default;
};

class Reader {
 public:
  explicit Reader(std::size_t max_line) : max_line_(max_line), splitter_(max_line) {}

  void feed(std::string_view bytes) {
    splitter_.feed(bytes, [this](LineSplitter::Line line) {
      const bool too_long = line.kind == LineSplitter::Kind::too_long;
      HOLDS(!too_long || line.text.empty());
      seen_.lines.push_back(too_long ? "too long" : "+" + std::string(line.text));
      return true;
    });
    HOLDS(splitter_.rest().size() <= max_line_ + 1);  // one more for a CR
  }
  Seen seen() {
    seen_.rest = splitter_.rest();
    return seen_;
  }

 private:
  std::size_t max_line_;
  LineSplitter splitter_;
  Seen seen_;
};

Seen expected(std::string_view bytes, std::size_t max_line) {
  Seen seen;
  while (true) {
    const std::size_t end = bytes.find('\n');
    std::string_view line = bytes.substr(0, end);
    const std::string_view whole = line;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool fits = line.size() <= max_line;
    if (end == std::string_view::npos) {
      // What is not complete yet keeps its CR.
      if (fits) seen.rest = whole;
      if (!fits) seen.lines.emplace_back("too long");
      return seen;
    }
    seen.lines.push_back(fits ? "+" + std::string(line) : "too long");
    bytes.remove_prefix(end + 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t max_line = data[0] % 40;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Seen wanted = expected(bytes, max_line);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    Reader reader(max_line);
    reader.feed(bytes.substr(0, cut));
    reader.feed(bytes.substr(cut));
    HOLDS(reader.seen() == wanted);
  }
  for (const std::size_t step : {1, 2, 3, 7}) {
    Reader reader(max_line);
    for (std::size_t at = 0; at < bytes.size(); at += step) reader.feed(bytes.substr(at, step));
    HOLDS(reader.seen() == wanted);
  }
  return 0;
}
