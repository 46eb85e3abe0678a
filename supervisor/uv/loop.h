// The one event loop, and the small things that hang on it: timers, watched descriptors, signals, jobs on
// threads. Everything here is used on the loop thread; callbacks run there too. Destroying an object stops
// its callbacks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "protocol/duration.h"
#include "protocol/error.h"

struct uv_loop_s;
struct uv_timer_s;
struct uv_poll_s;
struct uv_signal_s;
struct uv_process_s;

namespace kurultai::uv {

/// Deleter of handles: see handle.h.
struct CloseHandle {
  void operator()(uv_timer_s* handle) const noexcept;
  void operator()(uv_poll_s* handle) const noexcept;
  void operator()(uv_signal_s* handle) const noexcept;
  void operator()(uv_process_s* handle) const noexcept;
};

class Loop {
 public:
  /// Whether it could be made is_open() says; nothing may be put on one that could not.
  Loop();
  ~Loop();  // everything on it must have been destroyed; runs the last close callbacks, and waits for all
            // jobs
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Why it could not be made.
  const Result<void>& is_open() const { return open_; }
  /// libuv makes the threads of its pool when the first job comes, and ends the process where it gets none:
  /// to be called while nothing depends on that.
  void start_threads();

  /// Ends it as the destructor would, but waits for the jobs on threads for at most `patience`. False where
  /// one hangs in the kernel: then what it has is never freed, and the process must leave by _exit, since
  /// libuv waits for its threads too.
  bool close(Duration patience);

  void run();  // until stop() or nothing is left to wait for
  void stop();

  TimePoint now() const;
  WallTime wall_now() const;
  uv_loop_s* raw() const { return loop_.get(); }

 private:
  std::unique_ptr<uv_loop_s> loop_;
  Result<void> open_;
};

/// Calls back once, `after` from now; starting again replaces the earlier start. One that is long overdue
/// (the process was stopped) lets all that has come in meanwhile be heard first: an answer that lies in a
/// pipe did not miss its deadline.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> on_time);
  ~Timer();
  void start(Duration after);
  void stop();
  bool is_running() const;

 private:
  void arm(std::uint64_t milliseconds);
  void on_due();

  std::function<void()> on_time_;
  std::uint64_t due_ = 0;  // in the loop's own milliseconds
  bool deferred_ = false;
  std::unique_ptr<uv_timer_s, CloseHandle> handle_;
};

/// Calls back while `fd` is readable, or when it has something urgent (POLLPRI). Does not own the descriptor,
/// which must stay open for as long as the watch lives.
class FdWatch {
 public:
  enum class For : unsigned char { reading, urgent };
  static Result<std::unique_ptr<FdWatch>> start(Loop& loop, int fd, std::function<void()> on_ready,
                                                For what = For::reading);
  ~FdWatch();

 private:
  FdWatch() = default;
  std::function<void()> on_ready_;
  std::unique_ptr<uv_poll_s, CloseHandle> handle_;
};

class SignalWatch {
 public:
  SignalWatch(Loop& loop, int signal, std::function<void()> on_signal);
  ~SignalWatch();

 private:
  std::function<void()> on_signal_;
  std::unique_ptr<uv_signal_s, CloseHandle> handle_;
};

/// Calls back in a later turn of the loop.
void defer(Loop& loop, std::function<void()> callback);

/// Runs `work` on a thread of libuv's pool, then `done` on the loop. `work` must own all that it touches.
/// Both always run; a `done` that uses an object must find out by itself whether that still lives (weak_ptr).
void run_on_thread(Loop& loop, std::function<void()> work, std::function<void()> done);

}  // namespace kurultai::uv
