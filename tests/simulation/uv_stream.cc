#include <algorithm>
#include <utility>

#include "supervisor/uv/stream.h"
#include "tests/simulation/uv.h"

using kurultai::simulation::Calling;
using kurultai::simulation::Pipe;
using kurultai::simulation::Schedule;

namespace {

constexpr std::size_t pipe_capacity = 64 * 1024;

}  // namespace

/// Our end of a pipe. A closed stream is gone at once; the pipe lives on with the other end.
struct uv_stream_s {
  uv_loop_s& loop;
  std::shared_ptr<Pipe> pipe;
  bool reading = false;
  std::function<void()> deliver{};
  Schedule::Ticket ticket{};
  Calling calling{};

  void wake() {
    if (!reading || loop.schedule.waits(ticket) || (pipe->bytes.empty() && !pipe->writer_gone)) return;
    ticket = loop.schedule.after(std::chrono::microseconds(loop.dice.skewed(5, 1500)), [this] { deliver(); });
  }
  /// Now and then a read ends in the middle of a line.
  std::string take() {
    if (pipe->bytes.size() < 2 || !loop.dice.one_in(16)) return std::exchange(pipe->bytes, {});
    const auto size = loop.dice.between(1, static_cast<std::int64_t>(pipe->bytes.size()) - 1);
    std::string first = pipe->bytes.substr(0, static_cast<std::size_t>(size));
    pipe->bytes.erase(0, first.size());
    return first;
  }
};

namespace kurultai::simulation {

void Pipe::write(std::string_view more) {
  if (reader_gone) return;
  bytes += more;
  if (wake_reader) wake_reader();
}

void Pipe::close_writer() {
  writer_gone = true;
  if (wake_reader) wake_reader();
}

}  // namespace kurultai::simulation

namespace kurultai::uv {

void Stream::Close::operator()(uv_stream_s* stream) const noexcept {
  stream->loop.schedule.cancel(stream->ticket);
  if (stream->deliver) {
    stream->pipe->wake_reader = nullptr;
    stream->pipe->reader_gone = true;
  } else {
    stream->pipe->close_writer();
  }
  delete stream;
}

Result<std::unique_ptr<Stream>> Stream::open_pipe(Loop& loop, int fd) {
  std::unique_ptr<Stream> stream(new Stream);
  auto pipe = loop.raw()->pipes.extract(fd);
  if (pipe.empty()) return failure("open pipe: no such descriptor", EBADF);
  stream->handle_.reset(new uv_stream_s{*loop.raw(), std::move(pipe.mapped())});
  return stream;
}

Stream::~Stream() = default;

void Stream::read(OnData on_data, OnEnd on_end, Pace /*agents of a simulation stop*/) {
  on_data_ = std::move(on_data);
  on_end_ = std::move(on_end);
  uv_stream_s* handle = handle_.get();
  handle->deliver = [this, handle] {
    if (handle->pipe->bytes.empty()) return finish("");
    bool destroyed = false;
    handle->calling.destroyed = &destroyed;
    OnData running = std::move(on_data_);
    running(handle->take());
    if (destroyed) return;
    handle->calling.destroyed = nullptr;
    if (!on_data_) on_data_ = std::move(running);
    handle->wake();
  };
  handle->pipe->wake_reader = [handle] { handle->wake(); };
  start_reading();
}

void Stream::start_reading() {
  if (handle_ == nullptr || reading_ || !on_end_) return;
  reading_ = true;
  handle_->reading = true;
  handle_->wake();
}

void Stream::pause() {
  if (handle_ == nullptr || !reading_) return;
  reading_ = false;
  handle_->reading = false;
  handle_->loop.schedule.cancel(handle_->ticket);
}

void Stream::resume() { start_reading(); }

void Stream::hurry() {}

void Stream::finish(std::string_view error) {
  pause();
  if (!on_end_) return;
  const OnEnd on_end = std::exchange(on_end_, nullptr);
  on_end(error);
}

void Stream::drain_now(std::size_t limit) {
  if (handle_ == nullptr || !on_end_ || handle_->pipe->bytes.empty()) return;
  std::string& waiting = handle_->pipe->bytes;
  const std::string bytes = waiting.substr(0, limit);
  waiting.erase(0, bytes.size());
  on_data_(bytes);
}

void Stream::write(std::string bytes) {
  if (handle_ != nullptr) handle_->pipe->write(bytes);
}

std::size_t Stream::pending() const {
  if (handle_ == nullptr) return 0;
  const std::size_t waiting = handle_->pipe->bytes.size();
  return waiting - std::min(waiting, pipe_capacity);
}

void Stream::close_when_written() {
  pause();
  handle_.reset();
}

}  // namespace kurultai::uv
