#include "tests/simulation/standstill.h"

#include <algorithm>

namespace kurultai::simulation {

namespace {

constexpr Duration soon{20'000};  // whoever can go on does so within that, also where readings fail
constexpr Duration returns{10'000};
constexpr Duration edge_pause{1000};
constexpr Bytes start_room = mebibytes(17);
constexpr Bytes noise = mebibytes(1);

}  // namespace

const Worker* Standstill::worker(const std::string& id) const {
  for (const auto& worker : at_.dispatcher.pool().workers()) {
    if (worker->id() == id) return worker.get();
  }
  return nullptr;
}

const Group* Standstill::group(const std::string& id) const {
  const auto found = at_.kernel.groups().find(id);
  return found == at_.kernel.groups().end() ? nullptr : found->second.get();
}

void Standstill::after_step() {
  if (at_.kernel.suspensions() == 0) return;
  for (const Suspended& entry : at_.dispatcher.suspended()) nobody_forgotten(entry);
  for (const auto& each : at_.dispatcher.pool().workers()) known(*each);
  goes_on_in_time();
}

void Standstill::nobody_forgotten(const Suspended& entry) {
  const Worker* stands = worker(entry.worker_id);
  const Group* its = group(entry.worker_id);
  if (stands == nullptr || its == nullptr) {
    return findings_.violated("suspension", entry.worker_id + " counts as suspended, and is gone");
  }
  if (stands->killed()) return;
  if (!stands->is_suspended()) {
    return findings_.violated("suspension", entry.worker_id + " counts as suspended, and is not");
  }
  if (!entry.paging && its->paging) {
    findings_.violated("suspension", entry.worker_id + " counts as paged out, and that is under way");
  }
  if (entry.paged_out && its->charge.count > entry.size.count / 2) {
    findings_.violated("suspension", entry.worker_id + " counts as paged out, and holds " +
                                         to_string(its->charge) + " of " + to_string(entry.size));
  }
}

void Standstill::known(const Worker& each) {
  const Group* its = group(each.id());
  if (each.killed() || its == nullptr) return;
  if (its->frozen != each.is_suspended()) {
    findings_.violated("suspension", each.id() + (its->frozen ? " stands still, and nobody knows"
                                                              : " counts as suspended, and works"));
  }
  if (!each.is_suspended()) return;
  const auto& entries = at_.dispatcher.suspended();
  if (std::ranges::find(entries, each.id(), &Suspended::worker_id) == entries.end()) {
    findings_.violated("suspension", each.id() + " stands still, and is forgotten");
  }
  for (const std::string& id : each.tasks()) {
    if (at_.dispatcher.tasks().find(id)->state == TaskState::suspended) continue;
    findings_.violated("suspension", "a task in " + each.id() + " stands still and is not shown so");
  }
}

void Standstill::after_reading(const MemorySnapshot& snapshot) {
  used_ = snapshot.used;
  const double ratio = at_.dispatcher.governor().pressure().thresholds().at(Threshold::preempt);
  line_ = share_of(snapshot.budget, ratio - Governor::margin);
}

void Standstill::goes_on_in_time() {
  const auto& entries = at_.dispatcher.suspended();
  const auto first = std::ranges::min_element(entries, {}, &Suspended::since);
  if (first == entries.end() || !may_go_on(*first)) return due_.clear();
  const TimePoint now = at_.loop.schedule.now();
  if (due_ != first->worker_id) {
    due_ = first->worker_id;
    due_since_ = now;
  } else if (now - due_since_ > soon) {
    findings_.violated("suspension", due_ + " could go on and does not");
  }
}

bool Standstill::may_go_on(const Suspended& entry) const {
  const Dispatcher& dispatcher = at_.dispatcher;
  const Worker* stands = worker(entry.worker_id);
  if (entry.paging || stands == nullptr || stands->killed()) return false;
  const bool others_run = std::ranges::any_of(dispatcher.pool().workers(), [](const auto& each) {
    return !each->tasks().empty() && !each->is_suspended();
  });
  if (!others_run) return true;
  const bool presses = dispatcher.governor().pressure().is_over(Threshold::preempt);
  return !presses && !dispatcher.waits_for_room() && used_ + entry.size <= line_;
}

// What is still on its way there takes swap too.
void Standstill::decided(const Receipt& receipt, const std::vector<std::string>& workers) {
  Bytes wanted;
  for (const Candidate& one : receipt.running) {
    const bool chosen = std::ranges::find(receipt.chosen, one.task_id) != receipt.chosen.end();
    if (chosen && one.suspendable && !receipt.kill) wanted += one.memory;
  }
  if (wanted == Bytes{}) return;
  Bytes free = at_.kernel.free_swap();
  for (const auto& [name, its] : at_.kernel.groups()) {
    const Worker* stands = worker(name);
    if (!its->paging || stands == nullptr || std::ranges::find(workers, name) != workers.end()) continue;
    free -= std::min(its->charge, stands->memory());
  }
  if (wanted <= free) return;
  findings_.violated("suspension", to_string(wanted) +
                                       " are to be paged out at once, and swap has room for " +
                                       to_string(std::max(free, Bytes{})));
}

void Standstill::suspended(const Task& task) {
  const Worker* stands = worker(task.worker_id);
  if (stands == nullptr) return;
  stopped_[task.worker_id] = {at_.loop.schedule.now(), stands->memory()};
}

void Standstill::resumed(const Task& task) {
  const Worker* goes_on = worker(task.worker_id);
  const auto stopped = stopped_.find(task.worker_id);
  if (goes_on == nullptr || stopped == stopped_.end()) return;
  if (stopped->second.resumed_at == TimePoint{}) {
    stopped->second.resumed_at = at_.loop.schedule.now();
    has_room(*goes_on, stopped->second);
  }
  // In the others a task that is cancelled wakes its neighbours.
  if (goes_on->agent().concurrency == 1) longest_first(*goes_on, stopped->second);
}

void Standstill::longest_first(const Worker& resumed, const Stopped& stopped) {
  for (const auto& other : at_.dispatcher.pool().workers()) {
    if (!other->is_suspended() || other->killed() || stopped_[other->id()].since >= stopped.since) continue;
    findings_.violated("suspension",
                       resumed.id() + " went on before " + other->id() + ", which waits longer");
  }
}

// Whoever reads back what he held before need not wait for it, where it is there.
void Standstill::has_room(const Worker& resumed, const Stopped& stopped) {
  const Group* its = group(resumed.id());
  if (its == nullptr || !at_.dispatcher.config().flags.memory_governance) return;
  const TimePoint now = at_.loop.schedule.now();
  if (now - std::max(at_.kernel.edge_refused_at(), at_.kernel.lagged_at()) < edge_pause) return;
  const Bytes wanted = std::min(stopped.size, its->limits.memory);
  Bytes claimed = at_.kernel.stray() + promised();
  for (const auto& each : at_.dispatcher.pool().workers()) {
    const Group* other = group(each->id());
    if (other == nullptr || other == its) continue;
    const bool starts = each->state() == Worker::State::starting;
    claimed += noise + std::max(other->charge, starts ? start_room : Bytes{});
  }
  if (claimed + wanted > at_.dispatcher.workers_total() || its->edge >= wanted) return;
  findings_.violated("suspension", resumed.id() + " goes on with an edge of " + to_string(its->edge) +
                                       ", and held " + to_string(wanted) + "; others claim " +
                                       to_string(claimed) + " of " +
                                       to_string(at_.dispatcher.workers_total()));
}

bool Standstill::outranks(Priority priority) const {
  return std::ranges::any_of(at_.dispatcher.pool().workers(), [&](const auto& each) {
    return each->is_suspended() && std::ranges::any_of(each->tasks(), [&](const std::string& id) {
             return at_.dispatcher.tasks().find(id)->priority <= priority;
           });
  });
}

Bytes Standstill::promised() const {
  Bytes sum;
  const TimePoint now = at_.loop.schedule.now();
  for (const auto& [name, stopped] : stopped_) {
    const Group* its = group(name);
    const bool fresh = stopped.resumed_at == TimePoint{} || now - stopped.resumed_at < returns;
    if (its != nullptr && !its->frozen && fresh) sum += std::max(stopped.size - its->charge, Bytes{});
  }
  return sum;
}

}  // namespace kurultai::simulation
