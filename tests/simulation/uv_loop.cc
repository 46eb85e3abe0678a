#include <utility>

#include "supervisor/uv/loop.h"
#include "tests/simulation/uv.h"

using kurultai::simulation::Calling;
using kurultai::simulation::Schedule;

struct uv_timer_s {
  Schedule& schedule;
  Schedule::Ticket ticket{};
  Calling calling{};
};

struct uv_poll_s {
  uv_loop_s& loop;
  int descriptor;
  std::function<void()> fire{};
  Schedule::Ticket ticket{};
  Calling calling{};
};

int uv_loop_s::add_pipe(std::shared_ptr<kurultai::simulation::Pipe> pipe) {
  pipes[next_descriptor] = std::move(pipe);
  return next_descriptor++;
}

void uv_loop_s::make_ready(int descriptor) {
  const auto found = watched.find(descriptor);
  if (found == watched.end() || schedule.waits(found->second->ticket)) return;
  uv_poll_s* poll = found->second;
  poll->ticket = schedule.after(std::chrono::microseconds(dice.skewed(50, 3000)), [poll] { poll->fire(); });
}

void uv_loop_s::tell_exit(int pid, int status, int signal) {
  schedule.after(std::chrono::microseconds(dice.skewed(20, 2000)), [this, pid, status, signal] {
    const auto child = children.find(pid);
    if (child == children.end()) return;
    const auto told = std::move(child->second);
    children.erase(child);
    told(status, signal);
  });
}

namespace kurultai::uv {

namespace {

/// Calls a function that may destroy its owner, and with it itself: it is moved out for the call and put back
/// where the owner lives on.
template <typename Handle>
void call_safely(Handle& handle, std::function<void()>& function) {
  bool destroyed = false;
  handle.calling.destroyed = &destroyed;
  auto running = std::move(function);
  running();
  if (destroyed) return;
  handle.calling.destroyed = nullptr;
  if (!function) function = std::move(running);
}

}  // namespace

void CloseHandle::operator()(uv_timer_s* handle) const noexcept {
  handle->schedule.cancel(handle->ticket);
  delete handle;
}

void CloseHandle::operator()(uv_poll_s* handle) const noexcept {
  handle->loop.schedule.cancel(handle->ticket);
  handle->loop.watched.erase(handle->descriptor);
  delete handle;
}

Loop::Loop() : loop_(std::make_unique<uv_loop_s>()) {}
Loop::~Loop() = default;

void Loop::run() {
  loop_->stopped = false;
  while (!loop_->stopped && loop_->schedule.deliver_next()) {
  }
}

void Loop::stop() { loop_->stopped = true; }
TimePoint Loop::now() const { return loop_->schedule.now(); }

// Somebody sets the clock on the wall every ten seconds, to any day of ten years: nothing may depend on it.
WallTime Loop::wall_now() const {
  const auto since = now().time_since_epoch();
  const auto setting =
      static_cast<std::uint64_t>(std::chrono::floor<std::chrono::seconds>(since).count()) / 10;
  const std::chrono::hours year_2030(60 * 365 * 24);
  const std::chrono::hours day(static_cast<std::int64_t>(setting * 0x9e3779b97f4a7c15U >> 32) % 3650 * 24);
  return WallTime(std::chrono::duration_cast<WallTime::duration>(since + year_2030 + day));
}

Timer::Timer(Loop& loop, std::function<void()> on_time) : on_time_(std::move(on_time)) {
  handle_.reset(new uv_timer_s{loop.raw()->schedule});
}

Timer::~Timer() = default;

void Timer::start(Duration after) {
  stop();
  handle_->ticket =
      handle_->schedule.after(std::max(after, Duration(0)), [this] { call_safely(*handle_, on_time_); });
}

void Timer::stop() { handle_->schedule.cancel(handle_->ticket); }
bool Timer::is_running() const { return handle_->schedule.waits(handle_->ticket); }

Result<std::unique_ptr<FdWatch>> FdWatch::start(Loop& loop, int fd, std::function<void()> on_ready, For) {
  std::unique_ptr<FdWatch> watch(new FdWatch);
  watch->on_ready_ = std::move(on_ready);
  watch->handle_.reset(new uv_poll_s{*loop.raw(), fd});
  uv_poll_s* handle = watch->handle_.get();
  handle->fire = [handle, owner = watch.get()] { call_safely(*handle, owner->on_ready_); };
  loop.raw()->watched[fd] = handle;
  return watch;
}

FdWatch::~FdWatch() = default;

void defer(Loop& loop, std::function<void()> callback) {
  loop.raw()->schedule.after(Duration(0), std::move(callback));
}

// Two events, so that what the thread saw may be old when the loop hears of it.
void run_on_thread(Loop& loop, std::function<void()> work, std::function<void()> done) {
  uv_loop_s& raw = *loop.raw();
  const std::chrono::microseconds until_work(raw.dice.skewed(20, 20'000));
  const std::chrono::microseconds until_done(raw.dice.skewed(20, 5'000));
  raw.schedule.after(until_work, [&raw, until_done, work = std::move(work), done = std::move(done)] {
    work();
    raw.schedule.after(until_done + std::exchange(raw.thread_takes, {}), done);
  });
}

}  // namespace kurultai::uv
