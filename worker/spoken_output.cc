#include "worker/spoken_output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "protocol/utf8.h"

namespace kurultai {
namespace {

constexpr std::size_t progress_limit = 1024;     // as the supervisor cuts it
constexpr std::size_t log_line_limit = 16384;    // as of LOG: one line is not to push all others out
constexpr Bytes longest_joined = mebibytes(16);  // of pieces, held in memory

Bytes joined_limit(Bytes result_limit) {
  return result_limit.count > 0 ? std::min(result_limit, longest_joined) : longest_joined;
}

void log_line(std::string_view text) {
  std::string line(text.substr(0, log_line_limit));
  line += '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t count = ::write(STDERR_FILENO, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return;  // nobody listens
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace

SpokenOutput::SpokenOutput(OutputOrder order, Bytes result_limit, Tell tell)
    : max_line_(order.max_line),
      lines_(static_cast<std::size_t>(order.max_line.count)),
      answer_(std::move(order.rules), joined_limit(result_limit)),
      tell_(std::move(tell)) {}

void SpokenOutput::take(std::string_view bytes) {
  lines_.feed(bytes, [this](const LineSplitter::Line& line) {
    take_line(line);
    return true;
  });
}

void SpokenOutput::end() {
  if (!lines_.rest().empty()) take("\n");
  if (skipped_ > 0) log_line("kurultai:" + note());
}

std::string SpokenOutput::note() const {
  if (skipped_ == 0) return {};
  return " (" + std::to_string(skipped_) + (skipped_ == 1 ? " line" : " lines") + " longer than " +
         to_string(max_line_) + (skipped_ == 1 ? " was" : " were") + " skipped)";
}

void SpokenOutput::take_line(LineSplitter::Line line) {
  if (line.kind == LineSplitter::Kind::too_long) {
    skipped_ += 1;
    return;
  }
  const auto taken = answer_.take(line.text);
  if (taken.is_log) return log_line(line.text);
  if (!taken.progress.empty()) tell_(std::string(utf8_prefix(taken.progress, progress_limit)));
}

}  // namespace kurultai
