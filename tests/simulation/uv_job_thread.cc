// Threads of their own, in simulated time: work that is done a while later, and heard of later still.
#include "supervisor/uv/job_thread.h"

#include <utility>

#include "supervisor/uv/loop.h"

namespace kurultai::uv {

struct JobThread::Shared {
  Loop& loop;
};

JobThread::JobThread(std::shared_ptr<Shared> shared, std::thread thread)
    : shared_(std::move(shared)), thread_(std::move(thread)) {}

Result<std::unique_ptr<JobThread>> JobThread::start(Loop& loop, const char* /*name*/) {
  return std::unique_ptr<JobThread>(new JobThread(std::make_shared<Shared>(loop), {}));
}

JobThread::~JobThread() = default;

/// Nobody is told once it is gone, as by the real one.
void JobThread::run(std::function<void()> work, std::function<void()> done) {
  run_on_thread(shared_->loop, std::move(work), [done = std::move(done), alive = std::weak_ptr(shared_)] {
    if (!alive.expired()) done();
  });
}

}  // namespace kurultai::uv
