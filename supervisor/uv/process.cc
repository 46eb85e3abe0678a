#include "supervisor/uv/process.h"

#include <fcntl.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <utility>

#include "supervisor/uv/handle.h"

namespace kurultai::uv {

namespace {

struct PipePair {
  int read = -1;
  int write = -1;
  PipePair() = default;
  PipePair(const PipePair&) = delete;
  PipePair& operator=(const PipePair&) = delete;
  ~PipePair() {
    if (read >= 0) ::close(read);
    if (write >= 0) ::close(write);
  }
  Result<void> open() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_failure("make a pipe", errno);
    read = ends[0];
    write = ends[1];
    return {};
  }
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  list.reserve(texts.size() + 1);
  for (const auto& text : texts) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

uv_stdio_container_t inherit(int fd) {
  uv_stdio_container_t container{};
  container.flags = UV_INHERIT_FD;
  container.data.fd = fd;
  return container;
}

}  // namespace

Result<Process::Spawned> Process::spawn(Loop& loop, const SpawnOptions& options, OnExit on_exit) {
  PipePair in;
  PipePair out;
  PipePair err;
  for (PipePair* pipe : {&in, &out, &err}) {
    if (auto opened = pipe->open(); !opened) return std::unexpected(opened.error());
  }
  // Our ends become streams before there is a child, so that no failure leaves one behind.
  Spawned spawned;
  for (auto [stream, fd] : {std::pair(&spawned.in, &in.write), std::pair(&spawned.out, &out.read),
                            std::pair(&spawned.err, &err.read)}) {
    auto opened = Stream::open_pipe(loop, std::exchange(*fd, -1));
    if (!opened) return std::unexpected(opened.error());
    *stream = std::move(*opened);
  }
  spawned.process.reset(new Process);
  spawned.process->on_exit_ = std::move(on_exit);
  auto argv = pointers(options.argv);
  auto environment = pointers(options.environment);
  std::array<uv_stdio_container_t, 3> stdio = {inherit(in.read), inherit(out.write), inherit(err.write)};

  uv_process_options_t uv_options{};
  uv_options.file = argv[0];
  uv_options.args = argv.data();
  uv_options.env = environment.data();
  uv_options.stdio = stdio.data();
  uv_options.stdio_count = stdio.size();
  uv_options.exit_cb = [](uv_process_t* handle, std::int64_t status, int signal) noexcept {
    call_safely(handle, &Process::on_exit_, static_cast<int>(status), signal);
  };
  // uv_spawn initialises the handle even when it fails: it is owned, and so closed, either way.
  auto* raw = new uv_process_t{};
  const int status = uv_spawn(loop.raw(), raw, &uv_options);
  raw->data = spawned.process.get();
  spawned.process->handle_.reset(raw);
  if (status != 0) return uv_failure("start " + options.argv[0], status);
  return spawned;
}

Process::~Process() = default;

int Process::pid() const { return handle_->pid; }

}  // namespace kurultai::uv
