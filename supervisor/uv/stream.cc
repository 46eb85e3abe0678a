#include "supervisor/uv/stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "supervisor/uv/handle.h"

namespace kurultai::uv {

namespace {

// Reads are consumed inside their callback, so all streams of the (single) loop thread share one buffer.
std::array<char, 64 * 1024> read_buffer;

constexpr std::chrono::milliseconds burst{20};
constexpr std::chrono::milliseconds shortest_rest{5};

std::chrono::nanoseconds own_processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

struct Write {
  uv_write_t request;
  std::string bytes;
};

}  // namespace

void Stream::Close::operator()(uv_stream_s* stream) const noexcept {
  stream->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(stream), [](uv_handle_t* closed) {
    if (closed->type == UV_TCP) {
      delete reinterpret_cast<uv_tcp_t*>(closed);
    } else {
      delete reinterpret_cast<uv_pipe_t*>(closed);
    }
  });
}

Result<std::unique_ptr<Stream>> Stream::open_pipe(Loop& loop, int fd) {
  auto pipe = std::make_unique<uv_pipe_t>();
  uv_pipe_init(loop.raw(), pipe.get(), 0);
  std::unique_ptr<Stream> stream(new Stream);
  stream->handle_.reset(reinterpret_cast<uv_stream_t*>(pipe.release()));
  stream->handle_->data = stream.get();
  stream->loop_ = &loop;
  if (const int status = uv_pipe_open(reinterpret_cast<uv_pipe_t*>(stream->handle_.get()), fd); status != 0) {
    ::close(fd);
    return uv_failure("open pipe", status);
  }
  return stream;
}

Stream::~Stream() = default;

void Stream::read(OnData on_data, OnEnd on_end, Pace pace) {
  pace_ = pace;
  pace_.most_a_turn = std::clamp(pace.most_a_turn, std::size_t{1}, read_buffer.size());
  if (pace.share < 1 && loop_ != nullptr) {
    rest_ = std::make_unique<Timer>(*loop_, [this] {
      resting_ = false;
      if (reading_) begin_reading();
    });
    accounted_ = loop_->now();
  }
  on_data_ = std::move(on_data);
  on_end_ = std::move(on_end);
  start_reading();
}

void Stream::start_reading() {
  if (handle_ == nullptr || reading_ || !on_end_) return;
  reading_ = true;
  if (!resting_) begin_reading();
}

void Stream::begin_reading() {
  if (handle_ == nullptr) return;
  uv_read_start(
      handle_.get(),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) noexcept {
        // libuv would read up to 32 times while reads fill the buffer, and how much a pipe holds is the
        // writer's choice (F_SETPIPE_SZ). No room ends that; what lies ready is still there in the next turn.
        auto* self = static_cast<Stream*>(handle->data);
        const bool had_its_turn = self != nullptr && std::exchange(self->filled_, false);
        *buffer = had_its_turn || self == nullptr
                      ? uv_buf_init(nullptr, 0)
                      : uv_buf_init(read_buffer.data(), static_cast<unsigned>(self->pace_.most_a_turn));
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) noexcept {
        auto* self = static_cast<Stream*>(stream->data);
        if (self == nullptr || count == 0 || count == UV_ENOBUFS) return;
        if (count > 0) {
          self->filled_ = static_cast<std::size_t>(count) == buffer->len;
          const std::string_view bytes(buffer->base, static_cast<std::size_t>(count));
          if (self->rest_ == nullptr) return call_safely(stream, &Stream::on_data_, bytes);
          const auto before = own_processor_time();
          call_safely(stream, &Stream::on_data_, bytes);
          if (stream->data == self) self->account(own_processor_time() - before);  // else it was destroyed
          return;
        }
        self->finish(count == UV_EOF ? "" : uv_strerror(static_cast<int>(count)));
      });
}

/// What a writer costs is paid back with time; one that owes too much is read again when most of it is paid.
void Stream::account(std::chrono::nanoseconds cost) {
  if (rest_ == nullptr) return;
  const TimePoint now = loop_->now();
  const std::chrono::duration<double, std::nano> paid = (now - std::exchange(accounted_, now)) * pace_.share;
  debt_ = std::max(std::chrono::nanoseconds(0),
                   debt_ - std::chrono::duration_cast<std::chrono::nanoseconds>(paid));
  if (!std::exchange(excused_, false)) debt_ += cost;
  if (debt_ <= burst || resting_ || handle_ == nullptr) return;
  const std::chrono::duration<double, std::nano> wait = (debt_ - burst) / pace_.share;
  resting_ = true;
  uv_read_stop(handle_.get());
  rest_->start(std::max<Duration>(shortest_rest, std::chrono::duration_cast<Duration>(wait)));
}

void Stream::hurry() {
  rest_.reset();
  if (std::exchange(resting_, false) && reading_) begin_reading();
}

void Stream::pause() {
  if (handle_ == nullptr || !reading_) return;
  uv_read_stop(handle_.get());
  reading_ = false;
}

void Stream::resume() { start_reading(); }

void Stream::finish(std::string_view error) {
  pause();
  if (!on_end_) return;
  // Moved out first: the callback may destroy this stream.
  const OnEnd on_end = std::exchange(on_end_, nullptr);
  on_end(error);
}

void Stream::drain_now(std::size_t limit) {
  if (handle_ == nullptr || !on_end_) return;
  const int descriptor = fd();
  std::array<char, 16 * 1024> buffer;
  while (limit > 0) {
    const ssize_t count = ::read(descriptor, buffer.data(), std::min(limit, buffer.size()));
    if (count <= 0) return;  // EAGAIN, or the end, which the loop will see for itself
    on_data_(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
    limit -= static_cast<std::size_t>(count);
  }
}

void Stream::write(std::string bytes) {
  if (handle_ == nullptr || bytes.empty()) return;
  if (pending() == 0) {
    const uv_buf_t now = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
    const int taken = uv_try_write(handle_.get(), &now, 1);
    if (taken == static_cast<int>(bytes.size())) return;
    if (taken > 0) bytes.erase(0, static_cast<std::size_t>(taken));
  }
  auto* request = new Write{{}, std::move(bytes)};
  request->request.data = request;
  const uv_buf_t buffer = uv_buf_init(request->bytes.data(), static_cast<unsigned>(request->bytes.size()));
  const int status =
      uv_write(&request->request, handle_.get(), &buffer, 1, [](uv_write_t* done, int) noexcept {
        const std::unique_ptr<Write> finished(static_cast<Write*>(done->data));
        // A failed write needs no report: the reader's side of the same stream, or the child's exit, tells
        // the end.
        if (auto* self = static_cast<Stream*>(done->handle->data)) self->written();
      });
  if (status != 0) delete request;
}

std::size_t Stream::pending() const { return handle_ == nullptr ? 0 : handle_->write_queue_size; }

void Stream::written() {
  if (pending() != 0) return;
  const auto then = std::exchange(then_, nullptr);
  if (close_after_) handle_.reset();
  if (then) then();  // last: it may destroy this stream
}

void Stream::when_written(std::function<void()> then) {
  if (pending() == 0) return then();
  then_ = std::move(then);
}

void Stream::close_when_written() {
  close_after_ = true;
  if (pending() == 0) {
    pause();
    handle_.reset();
  }
}

bool Stream::peer_has_gone() const {
  pollfd look{fd(), POLLRDHUP, 0};
  return ::poll(&look, 1, 0) == 1;
}

std::optional<unsigned> Stream::peer_user() const {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer.uid;
}

std::string Stream::peer_address() const {
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (::getpeername(fd(), reinterpret_cast<sockaddr*>(&peer), &size) != 0) return {};
  uv_ip_name(reinterpret_cast<const sockaddr*>(&peer), text.data(), text.size());
  return text.data();
}

int Stream::fd() const {
  uv_os_fd_t fd = -1;
  if (handle_ != nullptr) uv_fileno(reinterpret_cast<const uv_handle_t*>(handle_.get()), &fd);
  return fd;
}

}  // namespace kurultai::uv
