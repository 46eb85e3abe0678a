#include "supervisor/uv/job_thread.h"

#include <pthread.h>
#include <uv.h>

#include <cassert>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "supervisor/uv/handle.h"

namespace kurultai::uv {

struct JobThread::Shared {
  std::mutex mutex;
  std::condition_variable_any wanted;
  std::function<void()> work;  // under the mutex
  std::function<void()> done;  // on the loop only
  std::unique_ptr<uv_async_t, void (*)(uv_async_t*)> finished{nullptr, close_handle<uv_async_t>};
  std::jthread thread;  // the last: it uses the others

  void serve(const std::stop_token& stop) {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex);
        if (!wanted.wait(lock, stop, [this] { return static_cast<bool>(work); })) return;
        job = std::exchange(work, nullptr);
      }
      job();
      uv_async_send(finished.get());
    }
  }
};

JobThread::JobThread(Loop& loop, const char* name) : shared_(std::make_unique<Shared>()) {
  auto handle = std::make_unique<uv_async_t>();
  [[maybe_unused]] const int status = uv_async_init(loop.raw(), handle.get(), [](uv_async_t* sent) noexcept {
    auto* shared = static_cast<Shared*>(sent->data);
    if (shared == nullptr || !shared->done) return;
    const auto done = std::exchange(shared->done, nullptr);  // it may ask for the next
    done();
  });
  assert(status == 0);
  handle->data = shared_.get();
  shared_->finished.reset(handle.release());
  shared_->thread =
      std::jthread([shared = shared_.get()](const std::stop_token& stop) { shared->serve(stop); });
  ::pthread_setname_np(shared_->thread.native_handle(), name);
}

JobThread::~JobThread() {
  shared_->thread.request_stop();
  shared_->thread.join();
}

void JobThread::run(std::function<void()> work, std::function<void()> done) {
  assert(!shared_->done);
  shared_->done = std::move(done);
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->work = std::move(work);
  }
  shared_->wanted.notify_one();
}

}  // namespace kurultai::uv
