// What a line was understood as is written as a line that means the same, whatever the first one looked like.
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/codec.h"
#include "protocol/line_splitter.h"
#include "tests/fuzz/check.h"

using namespace kurultai;

namespace {

template <typename Message, typename Line>
void comes_back(const Line& line, Line (*decode)(std::string_view)) {
  if (const auto* unknown = std::get_if<UnknownType>(&line)) HOLDS(unknown->type.size() <= 64);
  if (const auto* malformed = std::get_if<Malformed>(&line)) HOLDS(!malformed->why.empty());
  const auto* message = std::get_if<Message>(&line);
  if (message == nullptr) return;
  const std::string encoded = encode(*message);
  std::string text;
  LineSplitter splitter(encoded.size());
  int lines = 0;
  splitter.feed(encoded, [&](LineSplitter::Line one) {
    lines += 1;
    text = one.text;
    return true;
  });
  HOLDS(lines == 1);
  HOLDS(splitter.rest().empty());
  const Line again = decode(text);
  HOLDS(std::holds_alternative<Message>(again));
  HOLDS(std::get<Message>(again) == *message);
  HOLDS(encode(std::get<Message>(again)) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  comes_back<FromAgent>(decode_from_agent(line), decode_from_agent);
  comes_back<ToAgent>(decode_to_agent(line), decode_to_agent);
  return 0;
}
