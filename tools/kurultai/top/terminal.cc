#include "tools/kurultai/top/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "tools/kurultai/supervisor.h"

namespace kurultai {
namespace {

// Alternate screen, no cursor, and no going on in the next line: what is too wide is lost.
constexpr std::string_view take_over = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
constexpr std::string_view give_back = "\x1b[?7h\x1b[?25h\x1b[?1049l";

std::array<int, 2> resized = {-1, -1};

extern "C" void on_resize(int) noexcept {
  const int saved = errno;
  [[maybe_unused]] const auto ignored = write(resized[1], "", 1);
  errno = saved;
}

/// Without what stands for arrows and the like: ESC, a letter or `[`, and then up to a letter (ECMA-48, 5.4).
std::string plain_keys(std::string_view bytes) {
  constexpr char escape = 0x1B;
  std::string keys;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != escape) {
      keys += bytes[i];
    } else if (++i < bytes.size() && (bytes[i] == '[' || bytes[i] == 'O')) {
      while (++i < bytes.size() && bytes[i] < '@') {
      }
    }
  }
  return keys;
}

}  // namespace

ScreenSize screen_size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

bool Terminal::is_there() {
  const char* kind = std::getenv("TERM");
  const bool can = kind != nullptr && *kind != '\0' && std::strcmp(kind, "dumb") != 0;
  return can && isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
}

Terminal::Terminal() {
  if (pipe2(resized.data(), O_CLOEXEC | O_NONBLOCK) != 0) resized = {-1, -1};
  struct sigaction change{};
  change.sa_handler = on_resize;
  change.sa_flags = SA_RESTART;
  sigaction(SIGWINCH, &change, nullptr);
  tcgetattr(STDIN_FILENO, &before_);
  enter();
}

Terminal::~Terminal() {
  leave();
  std::signal(SIGWINCH, SIG_DFL);
  for (int& fd : resized) close(fd), fd = -1;
}

void Terminal::enter() {
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
  raw.c_iflag &= ~static_cast<tcflag_t>(IXON);  // Ctrl-S would leave us waiting in a write
  raw.c_cc[VMIN] = 0;                           // a read without a key returns
  raw.c_cc[VTIME] = 0;
  raw.c_cc[VSUSP] = _POSIX_VDISABLE;  // they come as keys: the screen is given back first
  raw.c_cc[VQUIT] = _POSIX_VDISABLE;
  tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  is_gone_ = write_all(STDOUT_FILENO, take_over) != 0;
}

void Terminal::leave() {
  write_all(STDOUT_FILENO, give_back);
  tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

int Terminal::resized_fd() const { return resized[0]; }

void Terminal::clear_resized() {
  std::array<char, 64> bytes{};
  while (read(resized[0], bytes.data(), bytes.size()) > 0) {
  }
}

std::string Terminal::keys() {
  std::array<char, 64> bytes{};
  const ssize_t count = read(STDIN_FILENO, bytes.data(), bytes.size());
  if (count > 0) return plain_keys({bytes.data(), static_cast<std::size_t>(count)});
  if (count < 0 && errno != EINTR && errno != EAGAIN) is_gone_ = true;
  return {};
}

void Terminal::show(std::string_view lines) {
  std::string out = "\x1b[H";
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    out += at == 0 ? "" : "\r\n";
    out.append(lines.substr(at, end - at)).append("\x1b[K");
    at = end + 1;
  }
  out += "\x1b[J";
  if (write_all(STDOUT_FILENO, out) != 0) is_gone_ = true;
}

void Terminal::stop() {
  leave();
  std::raise(SIGSTOP);
  enter();
}

}  // namespace kurultai
