// The dispatcher's side of leaks: each reading is shown to the watch of its process, and what that has to
// tell goes out as events. A worker whose agent wants it is replaced once its tasks have ended.
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
    const Bytes cap = worker->spec().memory_limit;
    const LeakNews news = worker->leak.note(now, interval, named.reading.used, cap);
    tell_of_leak(news, {worker->id(), worker->agent().name, named.reading.used, worker->leak.verdict()}, cap);
    if (news.is_worse && worker->agent().on_leak == OnLeak::recycle) {
      worker->retire();
      end_if_retired(*worker);
    }
  }
  const LeakNews news = own_leak_.note(now, interval, snapshot.supervisor_rss, {});
  tell_of_leak(news, {"", "", snapshot.supervisor_rss, own_leak_.verdict()}, {});
}

void Dispatcher::tell_of_leak(LeakNews news, const LeakSuspected& found, Bytes cap) {
  if (news.is_at_mark) {
    const LeakLevel mark = found.verdict.mark;
    events_.emit(found.worker_id,
                 MemoryWarning{found.worker_id, found.agent, found.used, LeakRules{}.at(mark), cap, mark});
  }
  if (news.is_worse) events_.emit(found.worker_id, found);
}

}  // namespace kurultai
