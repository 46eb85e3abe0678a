#include "supervisor/uv/job_thread.h"

#include <pthread.h>
#include <uv.h>

#include <cassert>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <utility>

#include "supervisor/uv/handle.h"

namespace kurultai::uv {

struct JobThread::Shared {
  std::mutex mutex;  // of all but `done`
  std::condition_variable changed;
  std::function<void()> work;
  bool stop = false;       // after what was asked for
  bool over = false;       // the thread does nothing more
  bool abandoned = false;  // nobody waits for it
  std::unique_ptr<uv_async_t, void (*)(uv_async_t*)> finished{nullptr, close_handle<uv_async_t>};
  std::function<void()> done;  // on the loop only

  void serve() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return stop || work; });
      if (!work) break;
      auto job = std::exchange(work, nullptr);
      lock.unlock();
      job();
      lock.lock();
      // What the job has may be the loop's, and that is gone: kept to the end of the process.
      changed.wait(lock, [this] { return !abandoned; });
      uv_async_send(finished.get());
    }
    over = true;
    changed.notify_all();
  }
};

JobThread::JobThread(std::shared_ptr<Shared> shared, std::thread thread)
    : shared_(std::move(shared)), thread_(std::move(thread)) {}

Result<std::unique_ptr<JobThread>> JobThread::start(Loop& loop, const char* name) {
  auto shared = std::make_shared<Shared>();
  auto handle = std::make_unique<uv_async_t>();
  const int status = uv_async_init(loop.raw(), handle.get(), [](uv_async_t* sent) noexcept {
    auto* of = static_cast<Shared*>(sent->data);
    if (of == nullptr || !of->done) return;
    // Sent with the lock held: with it, what the job has written is there to be read, whatever libuv
    // promises.
    {
      const std::lock_guard seen(of->mutex);
    }
    const auto done = std::exchange(of->done, nullptr);  // it may ask for the next
    done();
  });
  if (status != 0) return uv_failure("start thread " + std::string(name), status);
  handle->data = shared.get();
  shared->finished.reset(handle.release());
  try {
    std::thread thread([shared] { shared->serve(); });
    ::pthread_setname_np(thread.native_handle(), name);
    return std::unique_ptr<JobThread>(new JobThread(std::move(shared), std::move(thread)));
  } catch (const std::system_error& error) {
    return system_failure("start thread " + std::string(name), error.code().value());
  }
}

JobThread::~JobThread() {
  std::unique_lock lock(shared_->mutex);
  shared_->stop = true;
  shared_->changed.notify_all();
  shared_->abandoned = !shared_->changed.wait_for(lock, patience, [this] { return shared_->over; });
  shared_->finished.reset();
  shared_->done = nullptr;  // here: the thread may be the last to hold it
  const bool is_over = shared_->over;
  lock.unlock();
  if (is_over) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

void JobThread::run(std::function<void()> work, std::function<void()> done) {
  assert(!shared_->done);
  shared_->done = std::move(done);
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->work = std::move(work);
  }
  shared_->changed.notify_all();
}

}  // namespace kurultai::uv
