#include "worker/supervisor_link.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "protocol/bytes.h"

namespace kurultai {

Fd watch_signals() {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is the result's failure, not the host's end
  return Fd(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
}

bool SupervisorLink::read(const Take& take) {
  char buffer[65536];
  const ssize_t count = ::read(STDIN_FILENO, buffer, sizeof buffer);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (count <= 0) return false;
  lines_.feed({buffer, static_cast<std::size_t>(count)}, [&](LineSplitter::Line line) {
    if (line.kind == LineSplitter::Kind::too_long) {
      take(Malformed{"a line longer than " + to_string(Bytes{max_line})});
    } else {
      take(decode_to_agent(line.text));
    }
    return true;
  });
  return true;
}

bool SupervisorLink::send(const FromAgent& message) { return send_line(encode(message)); }

bool SupervisorLink::send_line(std::string_view line) {
  while (!line.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, line.data(), line.size());
    if (count > 0) line.remove_prefix(static_cast<std::size_t>(count));
    if (count < 0 && errno == EAGAIN) {
      pollfd out{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&out, 1, -1);
    } else if (count < 0 && errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace kurultai
