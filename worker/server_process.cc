#include "worker/server_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace kurultai {
namespace {

struct Pipe {
  Fd read, write;
};

std::expected<Pipe, Mishap> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::unexpected(Mishap{"pipe", nullptr, errno});
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

/// Our end only: the server's own would be a surprise to it.
void unblock(const Fd& fd) { ::fcntl(fd.get(), F_SETFL, O_NONBLOCK); }

}  // namespace

std::expected<ServerProcess, Mishap> ServerProcess::start(const Launch& launch,
                                                          const std::vector<char*>& argv) {
  auto input = make_pipe();
  if (!input) return std::unexpected(input.error());
  auto output = make_pipe();
  if (!output) return std::unexpected(output.error());
  const auto pid = spawn(launch, input->read.get(), output->write.get(), argv);
  if (!pid) return std::unexpected(pid.error());
  unblock(input->write);
  unblock(output->read);
  return ServerProcess(*pid, std::move(input->write), std::move(output->read));
}

void ServerProcess::write(std::string_view line) {
  if (!in_) return;
  unwritten_ += line;
  flush();
}

void ServerProcess::flush() {
  const ssize_t count = ::write(in_.get(), unwritten_.data() + written_, unwritten());
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count < 0) return close_input();
  written_ += static_cast<std::size_t>(count);
  if (unwritten() > 0) return;
  unwritten_.clear();
  written_ = 0;
  // One large task must not pin its size for good.
  if (unwritten_.capacity() > 65536) unwritten_.shrink_to_fit();
}

void ServerProcess::close_input() {
  in_.reset();
  unwritten_ = {};
  written_ = 0;
}

std::string_view ServerProcess::read() {
  const ssize_t count = ::read(out_.get(), buffer_.data(), buffer_.size());
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (count <= 0) return out_.reset(), std::string_view();
  return {buffer_.data(), static_cast<std::size_t>(count)};
}

}  // namespace kurultai
