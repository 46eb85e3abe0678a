#include "tools/kurultai/run/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/kurultai/supervisor.h"
#include "tools/kurultai/text.h"

namespace kurultai {
namespace {

std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::string progress_line(const ProgressFigures& figures) {
  std::string out = std::to_string(figures.done) + " done, " + std::to_string(figures.running) +
                    " running, " + std::to_string(figures.queued) + " queued, " +
                    std::to_string(figures.failed) + " failed";
  if (figures.used) out += " | memory " + brief(*figures.used) + " of " + brief(figures.budget);
  if (figures.left) out += " | ~" + brief(*figures.left) + " left";
  return out;
}

std::optional<Duration> time_left(std::size_t ended, std::size_t total, Duration elapsed) {
  if (ended == 0 || total < ended) return std::nullopt;
  const double each = static_cast<double>(elapsed.count()) / static_cast<double>(ended);
  return Duration(static_cast<std::int64_t>(each * static_cast<double>(total - ended)));
}

ProgressDisplay::ProgressDisplay() : on_terminal_(isatty(STDERR_FILENO) != 0) {}

void ProgressDisplay::draw(const std::string& line, TimePoint now) {
  drawn_at_ = now;
  std::string out = open_line_ ? "\n" : "\r\x1b[K";
  out += shorten(line, terminal_columns() - 1);
  open_line_ = false;
  drawn_ = true;
  write_all(STDERR_FILENO, out);
}

void ProgressDisplay::erase() {
  if (drawn_) write_all(STDERR_FILENO, "\r\x1b[K");
  drawn_ = false;
}

void ProgressDisplay::begin_line() {
  erase();
  if (open_line_) write_all(STDERR_FILENO, "\n");
  open_line_ = false;
}

}  // namespace kurultai
