// A thread of its own for work that must not wait behind that of others, as libuv's pool makes it. Used on
// the loop thread.
#pragma once

#include <functional>
#include <memory>

struct uv_async_s;

namespace kurultai::uv {

class Loop;

class JobThread {
 public:
  /// `name`: at most 15 characters, as tools show it.
  JobThread(Loop& loop, const char* name);
  /// Waits for the job under way; its `done` is not called any more.
  ~JobThread();
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;

  /// Runs `work` on the thread, then `done` on the loop. One at a time: not before the last one's `done`.
  void run(std::function<void()> work, std::function<void()> done);

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace kurultai::uv
