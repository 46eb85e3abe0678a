#include "tools/kurultai/interrupts.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>

namespace kurultai {
namespace {

std::atomic<int> pressed{0};
std::array<int, 2> wake = {-1, -1};

extern "C" void on_signal(int signal_number) noexcept {
  const int saved = errno;
  pressed += signal_number == SIGINT ? 1 : 2;
  [[maybe_unused]] const auto ignored = write(wake[1], "", 1);
  errno = saved;
}

void set_signals(void (*action)(int)) {
  struct sigaction change{};
  change.sa_handler = action;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &change, nullptr);
}

}  // namespace

Interrupts::Interrupts() {
  pressed = 0;
  if (pipe2(wake.data(), O_CLOEXEC | O_NONBLOCK) != 0) wake = {-1, -1};
  set_signals(on_signal);
}

Interrupts::~Interrupts() {
  set_signals(SIG_DFL);
  for (int& fd : wake) close(fd), fd = -1;
}

int Interrupts::fd() const { return wake[0]; }

void Interrupts::clear() {
  std::array<char, 16> bytes{};
  while (read(wake[0], bytes.data(), bytes.size()) > 0) {
  }
}

int Interrupts::count() { return pressed; }

}  // namespace kurultai
