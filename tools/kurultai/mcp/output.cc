#include "tools/kurultai/mcp/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "tools/kurultai/interrupts.h"

namespace kurultai {

bool write_to_client(std::string_view line) {
  while (!line.empty()) {
    if (Interrupts::count() > 0) return false;
    const ssize_t written = ::write(STDOUT_FILENO, line.data(), line.size());
    if (written >= 0) {
      line.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      // Some clients hand us a pipe that does not block.
      pollfd out{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&out, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool client_has_gone() {
  pollfd out{STDOUT_FILENO, 0, 0};
  return ::poll(&out, 1, 0) > 0;  // POLLERR of a pipe, POLLHUP of a socket
}

}  // namespace kurultai
