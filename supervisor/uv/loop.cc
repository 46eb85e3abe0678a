#include "supervisor/uv/loop.h"

#include <uv.h>

#include <cassert>

#include "supervisor/uv/handle.h"

namespace kurultai::uv {

void CloseHandle::operator()(uv_timer_s* handle) const noexcept { close_handle(handle); }
void CloseHandle::operator()(uv_poll_s* handle) const noexcept { close_handle(handle); }
void CloseHandle::operator()(uv_signal_s* handle) const noexcept { close_handle(handle); }
void CloseHandle::operator()(uv_process_s* handle) const noexcept { close_handle(handle); }

Loop::Loop() : loop_(std::make_unique<uv_loop_t>()) {
  if (const int status = uv_loop_init(loop_.get()); status != 0)
    open_ = uv_failure("make an event loop", status);
}

Loop::~Loop() {
  if (!open_ || loop_ == nullptr) return;
  uv_run(loop_.get(), UV_RUN_DEFAULT);
  [[maybe_unused]] const int status = uv_loop_close(loop_.get());
  assert(status == 0);
}

bool Loop::close(Duration patience) {
  auto limit = std::make_unique<uv_timer_t>();
  uv_timer_init(loop_.get(), limit.get());
  uv_update_time(loop_.get());
  uv_timer_start(
      limit.get(), [](uv_timer_t* timer) { uv_stop(timer->loop); },
      static_cast<std::uint64_t>(patience.count()), 0);
  uv_unref(reinterpret_cast<uv_handle_t*>(limit.get()));
  uv_run(loop_.get(), UV_RUN_DEFAULT);
  if (uv_loop_alive(loop_.get()) != 0) {  // the thread still knows both
    [[maybe_unused]] const auto* timer = limit.release();
    [[maybe_unused]] const auto* loop = loop_.release();
    return false;
  }
  uv_close(reinterpret_cast<uv_handle_t*>(limit.get()), nullptr);
  uv_run(loop_.get(), UV_RUN_DEFAULT);
  [[maybe_unused]] const int status = uv_loop_close(loop_.get());
  assert(status == 0);
  loop_.reset();
  return true;
}

void Loop::start_threads() {
  run_on_thread(*this, [] {}, [] {});
}

void Loop::run() { uv_run(loop_.get(), UV_RUN_DEFAULT); }
void Loop::stop() { uv_stop(loop_.get()); }
TimePoint Loop::now() const { return std::chrono::steady_clock::now(); }
WallTime Loop::wall_now() const { return std::chrono::system_clock::now(); }

Timer::Timer(Loop& loop, std::function<void()> on_time) : on_time_(std::move(on_time)) {
  auto handle = std::make_unique<uv_timer_t>();
  uv_timer_init(loop.raw(), handle.get());
  handle_ = own(std::move(handle), this);
}

Timer::~Timer() = default;

void Timer::start(Duration after) {
  // libuv counts from its cached time, which lags behind by however long this turn of the loop has taken.
  // That time stays as it is until the turn is over: a turn's timers run for as long as one is due, so two
  // that each take longer than the other's wait would keep the loop from everything else, for ever.
  const std::uint64_t lag = uv_hrtime() / 1'000'000 - uv_now(handle_->loop);
  deferred_ = false;
  arm(lag + static_cast<std::uint64_t>(std::max<Duration::rep>(after.count(), 0)));
}

void Timer::arm(std::uint64_t milliseconds) {
  due_ = uv_now(handle_->loop) + milliseconds;
  uv_timer_start(
      handle_.get(),
      [](uv_timer_t* handle) noexcept {
        if (handle->data != nullptr) static_cast<Timer*>(handle->data)->on_due();
      },
      milliseconds, 0);
}

// A turn of the loop runs timers before it looks at descriptors.
void Timer::on_due() {
  static constexpr std::uint64_t overdue = 100;
  static constexpr std::uint64_t next_turn = 1;  // 0 would be in this one
  // Once: where every turn takes so long, it would never be called.
  if (!deferred_ && uv_now(handle_->loop) > due_ + overdue) {
    deferred_ = true;
    return arm(next_turn);
  }
  call_safely(handle_.get(), &Timer::on_time_);
}

void Timer::stop() { uv_timer_stop(handle_.get()); }
bool Timer::is_running() const { return uv_is_active(reinterpret_cast<uv_handle_t*>(handle_.get())) != 0; }

Result<std::unique_ptr<FdWatch>> FdWatch::start(Loop& loop, int fd, std::function<void()> on_ready,
                                                For what) {
  auto handle = std::make_unique<uv_poll_t>();
  if (const int status = uv_poll_init(loop.raw(), handle.get(), fd); status != 0) {
    return uv_failure("watch descriptor " + std::to_string(fd), status);
  }
  std::unique_ptr<FdWatch> watch(new FdWatch);
  watch->on_ready_ = std::move(on_ready);
  watch->handle_ = own(std::move(handle), watch.get());
  const int status =
      uv_poll_start(watch->handle_.get(), what == For::urgent ? UV_PRIORITIZED : UV_READABLE,
                    [](uv_poll_t* ready, int, int) noexcept { call_safely(ready, &FdWatch::on_ready_); });
  if (status != 0) return uv_failure("watch descriptor " + std::to_string(fd), status);
  return watch;
}

FdWatch::~FdWatch() = default;

SignalWatch::SignalWatch(Loop& loop, int signal, std::function<void()> on_signal)
    : on_signal_(std::move(on_signal)) {
  auto handle = std::make_unique<uv_signal_t>();
  uv_signal_init(loop.raw(), handle.get());
  handle_ = own(std::move(handle), this);
  uv_signal_start(
      handle_.get(), [](uv_signal_t* raised, int) noexcept { call_safely(raised, &SignalWatch::on_signal_); },
      signal);
}

SignalWatch::~SignalWatch() = default;

namespace {

struct Deferred {
  uv_timer_t timer;
  std::function<void()> callback;
};

}  // namespace

void defer(Loop& loop, std::function<void()> callback) {
  auto* deferred = new Deferred{{}, std::move(callback)};
  uv_timer_init(loop.raw(), &deferred->timer);
  deferred->timer.data = deferred;
  uv_timer_start(
      &deferred->timer,
      [](uv_timer_t* timer) noexcept {
        static_cast<Deferred*>(timer->data)->callback();
        uv_close(reinterpret_cast<uv_handle_t*>(timer),
                 [](uv_handle_t* closed) { delete static_cast<Deferred*>(closed->data); });
      },
      0, 0);
}

namespace {

struct Job {
  uv_work_t request;
  std::function<void()> work;
  std::function<void()> done;
};

}  // namespace

void run_on_thread(Loop& loop, std::function<void()> work, std::function<void()> done) {
  auto* job = new Job{{}, std::move(work), std::move(done)};
  job->request.data = job;
  [[maybe_unused]] const int status = uv_queue_work(
      loop.raw(), &job->request,
      [](uv_work_t* request) noexcept { static_cast<Job*>(request->data)->work(); },
      [](uv_work_t* request, int) noexcept {
        const std::unique_ptr<Job> finished(static_cast<Job*>(request->data));
        finished->done();
      });
  assert(status == 0);
}

}  // namespace kurultai::uv
