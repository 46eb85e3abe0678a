// The dispatcher's side of leaks: each reading is shown to the watch of its process, and what that has to
// tell goes out as an event. A worker whose agent wants it is replaced once its tasks have ended.
#include "supervisor/dispatcher.h"

namespace kurultai {

void Dispatcher::look_for_leaks(const MemorySnapshot& snapshot) {
  const Duration interval = leak_interval_of(config_->memory);
  if (interval.count() == 0) return;
  const TimePoint now = loop_.now();
  for (const NamedReading& named : snapshot.workers.groups) {
    Worker* worker = pool_.find(named.name);
    if (worker == nullptr || worker->agent().on_leak == OnLeak::ignore) continue;
    if (worker->state() != Worker::State::serving) continue;  // what it needs to start is no leak
    const auto worse = worker->leak.note(now, interval, named.reading.used, worker->spec().memory_limit);
    if (!worse) continue;
    events_.emit(worker->id(), LeakSuspected{worker->id(), worker->agent().name, named.reading.used, *worse});
    if (worker->agent().on_leak == OnLeak::recycle) {
      worker->retire();
      end_if_retired(*worker);
    }
  }
  if (const auto worse = own_leak_.note(now, interval, snapshot.supervisor_rss, {}))
    events_.emit("", LeakSuspected{"", "", snapshot.supervisor_rss, *worse});
}

}  // namespace kurultai
