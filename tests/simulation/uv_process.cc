#include <utility>

#include "supervisor/uv/process.h"
#include "tests/simulation/uv.h"

struct uv_process_s {
  uv_loop_s& loop;
  int pid;
};

namespace kurultai::uv {

void CloseHandle::operator()(uv_process_s* handle) const noexcept {
  handle->loop.children.erase(handle->pid);
  delete handle;
}

Result<Process::Spawned> Process::spawn(Loop& loop, const SpawnOptions& options, OnExit on_exit) {
  const auto launched = loop.raw()->launch(options);
  if (!launched) return std::unexpected(launched.error());
  Spawned spawned;
  for (auto [stream, fd] :
       {std::pair(&spawned.in, launched->descriptors[0]), std::pair(&spawned.out, launched->descriptors[1]),
        std::pair(&spawned.err, launched->descriptors[2])}) {
    auto opened = Stream::open_pipe(loop, fd);
    if (!opened) return std::unexpected(opened.error());
    *stream = std::move(*opened);
  }
  spawned.process.reset(new Process);
  spawned.process->on_exit_ = std::move(on_exit);
  spawned.process->handle_.reset(new uv_process_s{*loop.raw(), launched->pid});
  loop.raw()->children[launched->pid] = [process = spawned.process.get()](int status, int signal) {
    process->on_exit_(status, signal);
  };
  return spawned;
}

Process::~Process() = default;

int Process::pid() const { return handle_->pid; }

}  // namespace kurultai::uv
