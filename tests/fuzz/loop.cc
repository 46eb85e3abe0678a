#include "tests/fuzz/loop.h"

#include <utility>

struct uv_timer_s {
  bool running = false;
};

struct uv_stream_s {
  kurultai::fuzz::Line& line;
  bool reading = false;
  std::function<void(std::string_view)> deliver{};
};

namespace kurultai::fuzz {

void deliver(uv::Loop& loop, std::string_view bytes) {
  uv_loop_s& raw = *loop.raw();
  raw.line.waiting += bytes;
  while (true) {
    uv_stream_s* server = raw.line.server;
    if (!raw.deferred.empty()) {
      const auto next = std::move(raw.deferred.front());
      raw.deferred.pop_front();
      next();
    } else if (server != nullptr && server->reading && !raw.line.waiting.empty()) {
      server->deliver(std::exchange(raw.line.waiting, {}));
    } else {
      return;
    }
  }
}

}  // namespace kurultai::fuzz

namespace kurultai::uv {

Loop::Loop() : loop_(std::make_unique<uv_loop_s>()) {}
Loop::~Loop() = default;

void defer(Loop& loop, std::function<void()> callback) {
  loop.raw()->deferred.push_back(std::move(callback));
}

void run_on_thread(Loop& loop, std::function<void()> work, std::function<void()> done) {
  work();
  defer(loop, std::move(done));
}

void CloseHandle::operator()(uv_timer_s* handle) const noexcept { delete handle; }

Timer::Timer(Loop&, std::function<void()> on_time) : on_time_(std::move(on_time)), handle_(new uv_timer_s) {}
Timer::~Timer() = default;
void Timer::start(Duration) { handle_->running = true; }
void Timer::stop() { handle_->running = false; }
bool Timer::is_running() const { return handle_->running; }

void Stream::Close::operator()(uv_stream_s* stream) const noexcept {
  stream->line.server = nullptr;
  stream->line.server_closed = true;
  delete stream;
}

Result<std::unique_ptr<Stream>> Stream::open_pipe(Loop& loop, int) {
  std::unique_ptr<Stream> stream(new Stream);
  stream->handle_.reset(new uv_stream_s{loop.raw()->line});
  loop.raw()->line.server = stream->handle_.get();
  return stream;
}

Stream::~Stream() = default;

void Stream::read(OnData on_data, OnEnd on_end, Pace) {
  on_data_ = std::move(on_data);
  on_end_ = std::move(on_end);
  handle_->deliver = [this](std::string_view bytes) { on_data_(bytes); };
  start_reading();
}

void Stream::start_reading() { handle_->reading = reading_ = true; }
void Stream::pause() { handle_->reading = reading_ = false; }
void Stream::resume() { start_reading(); }
void Stream::write(std::string bytes) { handle_->line.heard += bytes; }
std::size_t Stream::pending() const { return 0; }
void Stream::when_written(std::function<void()> then) { then(); }
int Stream::fd() const { return -1; }
bool Stream::peer_has_gone() const { return false; }

}  // namespace kurultai::uv
