// A thread of its own for work that must not wait behind that of others, as libuv's pool makes it. Used on
// the loop thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "protocol/error.h"

struct uv_async_s;

namespace kurultai::uv {

class Loop;

class JobThread {
 public:
  /// Of the job under way at the end: a disk that hangs in the kernel must not keep the process with it.
  static constexpr std::chrono::seconds patience{2};

  /// `name`: at most 15 characters, as tools show it.
  static Result<std::unique_ptr<JobThread>> start(Loop& loop, const char* name);
  /// Waits for the job under way, for at most `patience`: then the thread is left to itself, and what its job
  /// has is never freed. Its `done` is not called any more either way.
  ~JobThread();
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;

  /// Runs `work` on the thread, then `done` on the loop. One at a time: not before the last one's `done`.
  /// `work` must own all that it touches.
  void run(std::function<void()> work, std::function<void()> done);

 private:
  struct Shared;
  JobThread(std::shared_ptr<Shared> shared, std::thread thread);

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace kurultai::uv
