// Properties over many made-up messages: what is encoded decodes to the same, and no mutilated line does
// harm.
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "protocol/codec.h"
#include "protocol/line_splitter.h"
#include "protocol/utf8.h"

namespace kurultai::round_trip_test {

namespace {

class Maker {
 public:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  bool maybe() { return below(2) == 0; }
  std::int64_t amount() { return static_cast<std::int64_t>(random_() >> (1 + below(63))); }
  double real() { return std::ldexp(static_cast<double>(amount()), static_cast<int>(below(40)) - 60); }
  int small() { return static_cast<int>(below(100'000)); }
  Duration duration() { return Duration{amount() / 1000}; }

  // Not empty, so that a field that is left out when empty is there.
  std::string text() {
    static const std::vector<std::string> pieces = {
        "a",  "taskId", "\"", "\\", "\n", "\r\n", "\t",
        "{}", "\x01",   "ä",  "€",  "😀", "/",    std::string(1, '\0')};
    std::string made = "t";
    for (std::uint64_t i = below(12); i > 0; --i) made += pieces[below(pieces.size())];
    return made;
  }

  std::string bytes() {
    std::string made;
    for (std::uint64_t i = below(40); i > 0; --i) made += static_cast<char>(below(256));
    return made;
  }

  JsonText json() {
    static const std::vector<JsonText> values = {
        "null",      "true", "0", "-5", "1.5", "\"text\"", "[]", "{}", R"({"a":[1,{"b":null}],"c":"d"})",
        R"("\n\"ä")"};
    return values[below(values.size())];
  }

  template <typename T>
  std::optional<T> perhaps(T value) {
    return maybe() ? std::optional<T>(value) : std::nullopt;
  }

  ToAgent to_agent(std::size_t kind);
  FromAgent from_agent(std::size_t kind);

 private:
  TaskMessage task();
  Failed failed();

  std::mt19937_64 random_{20};
};

TaskMessage Maker::task() {
  TaskMessage task;
  task.task_id = text();
  task.agent = text();
  if (maybe()) task.payload = json();
  if (maybe()) task.payload_file = text();
  task.attempt = small();
  task.priority = all_priorities[below(priority_count)];
  task.deadline = duration();
  if (maybe()) task.checkpoint = json();
  if (maybe()) return task;
  for (std::uint64_t i = 1 + below(4); i > 0; --i) task.argv.push_back(text());
  if (below(2) == 0) task.cwd = text();
  if (maybe()) task.input = text();
  if (maybe()) task.output = json();
  task.result_file = text();
  task.inline_limit = {amount()};
  task.result_limit = {amount()};
  task.grace = duration();
  task.idempotent = maybe();
  return task;
}

Failed Maker::failed() {
  Failed failed{.task_id = text(), .error = text(), .stack = text(), .retryable = maybe()};
  failed.reason = perhaps(static_cast<FailReason>(below(14)));
  failed.exit_code = perhaps(small());
  failed.signal = perhaps(small());
  failed.file_bytes = amount();
  if (maybe()) failed.result = json();
  failed.peak = {amount()};
  return failed;
}

ToAgent Maker::to_agent(std::size_t kind) {
  switch (kind) {
    case 0:
      return Hello{text(), {amount()}, {amount()}};
    case 1:
      return task();
    case 2:
      return Cancel{text(), text()};
    case 3:
      return Preempt{text(), duration()};
    case 4:
      return PressureHint{small(), real()};
    case 5:
      return Ping{below(~std::uint64_t{0})};
    case 6:
      return Shutdown{duration()};
    default:
      return BreakerAnswer{text(), maybe(), duration(), static_cast<std::int64_t>(below(1000)), text()};
  }
}

FromAgent Maker::from_agent(std::size_t kind) {
  static const std::vector<std::string> levels = {"trace", "debug", "info", "warn", "error"};
  switch (kind) {
    case 0:
      return Ready{small(), text()};
    case 1:
      return Progress{text(), static_cast<double>(static_cast<std::int64_t>(below(1000))) / 10, text()};
    case 2:
      return Complete{text(), json(), amount(), {amount()}};
    case 3:
      return failed();
    case 4:
      return Chunk{text(), bytes()};
    case 5:
      return Checkpoint{text(), json()};
    case 6:
      return Preempted{text(), maybe() ? json() : ""};
    case 7:
      return HeapFigures{perhaps(Bytes{amount()}), perhaps(Bytes{amount()}), perhaps(Bytes{amount()}),
                         perhaps(Bytes{amount()})};
    case 8:
      return Metric{text(), maybe() ? real() : -real(),
                    maybe() ? Metric::Kind::gauge : Metric::Kind::counter};
    case 9:
      return Log{levels[below(levels.size())], text()};
    case 10:
      return BreakerRequest{text(), static_cast<BreakerRequest::Op>(below(4)),
                            static_cast<std::int64_t>(below(1000))};
    case 11:
      return Pong{below(~std::uint64_t{0})};
    case 12:
      return Swept{text(), small()};
    default:
      return Tools{{{text(), "what it does"}, {"b", ""}}};
  }
}

// As the reader on the other side gets it: one line, without its newline.
std::string only_line(const std::string& encoded) {
  REQUIRE(encoded.find('\n') == encoded.size() - 1);
  REQUIRE(is_utf8(encoded));
  return encoded.substr(0, encoded.size() - 1);
}

}  // namespace

TEST_CASE("every message to an agent comes back from its line as it was") {
  Maker make;
  for (std::size_t kind = 0; kind < std::variant_size_v<ToAgent>; ++kind) {
    for (int i = 0; i < 200; ++i) {
      const ToAgent message = make.to_agent(kind);
      REQUIRE(message.index() == kind);
      const std::string line = only_line(encode(message));
      CAPTURE(line);
      CHECK(decode_to_agent(line) == ToAgentLine(message));
    }
  }
}

TEST_CASE("every message from an agent comes back from its line as it was") {
  Maker make;
  for (std::size_t kind = 0; kind < std::variant_size_v<FromAgent>; ++kind) {
    for (int i = 0; i < 200; ++i) {
      const FromAgent message = make.from_agent(kind);
      REQUIRE(message.index() == kind);
      const std::string line = only_line(encode(message));
      CAPTURE(line);
      CHECK(decode_from_agent(line) == FromAgentLine(message));
    }
  }
}

TEST_CASE("zero has no sign: a reader would take -0 for a whole number, and write 0") {
  CHECK(encode(Metric{"n", -0.0, Metric::Kind::gauge}) == encode(Metric{"n", 0.0, Metric::Kind::gauge}));
}

TEST_CASE("a line of messages with bytes changed, dropped, doubled or cut never does harm") {
  Maker make;
  for (int i = 0; i < 20'000; ++i) {
    std::string line =
        make.maybe() ? encode(make.from_agent(make.below(13))) : encode(make.to_agent(make.below(8)));
    for (std::uint64_t changes = 1 + make.below(3); changes > 0 && !line.empty(); --changes) {
      const std::size_t at = make.below(line.size());
      switch (make.below(4)) {
        case 0:
          line[at] = static_cast<char>(make.below(256));
          break;
        case 1:
          line.erase(at, 1 + make.below(5));
          break;
        case 2:
          line.insert(at, line.substr(at, 1 + make.below(20)));
          break;
        default:
          line.resize(at);
          break;
      }
    }
    const FromAgentLine from = decode_from_agent(line);
    const ToAgentLine to = decode_to_agent(line);
    if (const auto* message = std::get_if<FromAgent>(&from)) CHECK(is_utf8(only_line(encode(*message))));
    if (const auto* message = std::get_if<ToAgent>(&to)) CHECK(is_utf8(only_line(encode(*message))));
  }
}

TEST_CASE("a stream of messages decodes the same whatever the sizes of the reads") {
  Maker make;
  std::string stream;
  std::vector<FromAgent> sent;
  for (std::size_t kind = 0; kind < std::variant_size_v<FromAgent>; ++kind) {
    sent.push_back(make.from_agent(kind));
    stream += encode(sent.back());
  }
  for (std::size_t size = 1; size <= 200; ++size) {
    LineSplitter splitter(1 << 20);
    std::size_t next = 0;
    for (std::size_t at = 0; at < stream.size(); at += size) {
      splitter.feed(std::string_view(stream).substr(at, size), [&](LineSplitter::Line line) {
        REQUIRE(next < sent.size());
        CHECK(decode_from_agent(line.text) == FromAgentLine(sent[next++]));
        return true;
      });
    }
    CHECK(next == sent.size());
  }
}

}  // namespace kurultai::round_trip_test
