#include "supervisor/workers/grants.h"

#include <algorithm>
#include <utility>

#include "supervisor/workers/worker.h"

namespace kurultai {

namespace {

// For exec and an interpreter's first moments. Only faults in user mode wait at an edge: exec fails there
// with E2BIG, and what the kernel itself writes for a process with EFAULT or SIGSEGV (seen on cgroups of
// version 1, Linux 6.18).
constexpr Bytes start_room = mebibytes(16);
constexpr Bytes noise = mebibytes(1);  // charges are made in batches; less is no growth and no room
constexpr Duration waiting_pace{5};
constexpr Duration still_pace{1000};
constexpr Duration return_time{10'000};
constexpr Duration refused_long{1000};    // EBUSY passes with the next look
constexpr Duration starving_long{10000};  // who gives way may take his grace for it

Bytes needed_for_start(const Worker& worker) {
  return worker.state() == Worker::State::starting ? std::min(start_room, worker.spec().memory_limit)
                                                   : Bytes{};
}

}  // namespace

/// An edge below the charge would make the kernel reclaim, here and now.
Bytes Grants::Held::surely() const {
  return std::min(charge + noise, std::max(charge, worker->spec().memory_limit));
}

Grants::Grants(uv::Loop& loop, std::function<void()> starved)
    : loop_(loop), starved_(std::move(starved)), timer_(loop, [this] { look(); }) {}

void Grants::set_total(Bytes total) {
  total_ = total;
  look();
}

Bytes Grants::first_edge(Bytes cap) { return std::min(start_room, cap); }

void Grants::add(Worker& worker) {
  const Bytes edge = first_edge(worker.spec().memory_limit);
  held_.push_back(
      {.worker = &worker, .edge = edge, .slack = edge, .charge = needed_for_start(worker), .growing = true});
  share();
  schedule();
}

void Grants::remove(Worker& worker) {
  if (std::erase_if(held_, [&](const Held& held) { return held.worker == &worker; }) == 0) return;
  // Files in memory outlive it. The next reading tells how much is left of them; until then it is not free.
  stray_ += worker.group().charge().value_or(Bytes{});
  look();
}

void Grants::expect(const Worker& worker, Bytes size) {
  const auto held = std::ranges::find(held_, &worker, &Held::worker);
  if (held == held_.end()) return;
  held->expected = size;
  held->until = loop_.now() + return_time;
  read();
  held->growing = true;  // nothing is charged to it yet
  share();
  schedule();
}

void Grants::forget(const Worker& worker) {
  const auto held = std::ranges::find(held_, &worker, &Held::worker);
  if (held != held_.end()) held->until = {};
}

bool Grants::make_room() {
  read();
  Bytes free = shared();
  for (const Held& held : held_) free -= held.surely();
  if (free < start_room + quiet_slack(total_, held_.size() + 1)) return false;
  share(start_room);
  return unheld() >= start_room;
}

void Grants::look() {
  read();
  const bool needed = std::ranges::any_of(held_, [](const Held& held) {
    return needs_new_edge(held.charge, held.edge, held.slack, held.worker->spec().memory_limit);
  });
  waiting_ = any_waits();
  if (needed || waiting_ || is_overdrawn()) share();
  waiting_ = any_waits();
  // What could not be written is tried again, and nobody has to give way for it.
  const bool starves = waiting_ && unheld().count <= noise.count * std::ssize(held_);
  if (starves && !starving_) starving_since_ = loop_.now();
  starving_ = starves;
  schedule();
  if (starving_) starved_();
}

void Grants::read() {
  for (Held& held : held_) {
    const auto charge = held.worker->group().charge();
    if (!charge) continue;  // it is on its way out, or will be read again
    const bool presses = held.edge < held.worker->spec().memory_limit && held.edge - *charge < noise;
    held.growing = presses || *charge >= held.charge + noise;
    held.charge = std::max(*charge, needed_for_start(*held.worker));
    if (loop_.now() < held.until) held.charge = std::max(held.charge, held.expected);
  }
}

void Grants::share(Bytes reserve) {
  std::vector<Holder> holders;
  holders.reserve(held_.size());
  for (const Held& held : held_)
    holders.push_back({held.surely(), held.worker->spec().memory_limit, held.growing});
  const std::vector<Bytes> edges = share_out(shared() - reserve, holders);
  std::vector<Bytes> now;
  now.reserve(held_.size());
  for (const Held& held : held_) now.push_back(held.edge);
  // What is taken from some before it is given to others: the sum holds at every moment.
  const Bytes worth_moving = reserve == Bytes{} && !waiting_ ? noise : Bytes{};
  for (const std::size_t i : givers(holders, now, edges, unheld(), worth_moving))
    move_edge(held_[i], edges[i]);
  for (const bool growing : {true, false}) {
    for (std::size_t i = 0; i < held_.size(); ++i) {
      const Bytes edge = std::min(edges[i], held_[i].edge + std::max(unheld() - reserve, Bytes{}));
      if (held_[i].growing == growing && edge > held_[i].edge) move_edge(held_[i], edge);
    }
  }
}

void Grants::move_edge(Held& held, Bytes edge) {
  if (const auto set = held.worker->group().set_edge(edge); !set) {
    // EBUSY: it has grown meanwhile; the next look sees that.
    if (!held.refused_since) held.refused_since = loop_.now();
    held.refusal = set.error().message;
    return;
  }
  held.refused_since.reset();
  held.edge = edge;
  held.slack = edge - held.charge;
}

std::string Grants::trouble() const {
  for (const Held& held : held_) {
    if (held.refused_since && loop_.now() >= *held.refused_since + refused_long)
      return "the edge of worker " + held.worker->id() + " cannot be moved: " + held.refusal;
  }
  if (starving_ && loop_.now() >= starving_since_ + starving_long)
    return "workers wait for memory, and nobody who may give way has any: raise memory.budget, or cancel a "
           "task";
  return {};
}

Bytes Grants::unheld() const {
  Bytes rest = shared();
  for (const Held& held : held_) rest -= held.edge;
  return rest;
}

bool Grants::any_waits() const {
  return std::ranges::any_of(held_, [](const Held& held) {
    return held.edge < held.worker->spec().memory_limit && held.edge - held.charge < noise &&
           held.worker->group().waits_at_edge();
  });
}

void Grants::schedule() {
  timer_.stop();
  if (waiting_ || is_overdrawn()) return timer_.start(waiting_pace);
  std::optional<Duration> next;
  for (const Held& held : held_) {
    if (held.edge >= held.worker->spec().memory_limit) continue;
    // One without a task stands still; should it not, the kernel says so when it reaches its edge.
    const bool still = held.worker->tasks().empty() && !held.growing;
    const Duration pace = still ? still_pace : next_look_in(std::max(held.edge - held.charge, Bytes{}));
    next = std::min(next.value_or(pace), pace);
  }
  if (next) timer_.start(*next);
}

}  // namespace kurultai
