#include "tests/simulation/schedule.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace kurultai::simulation {

bool Schedule::later(const Planned& a, const Planned& b) {
  return std::tie(b.when, b.order) < std::tie(a.when, a.order);
}

Schedule::Ticket Schedule::at(TimePoint when, Callback callback) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.callback = std::move(callback);
  slot.taken = true;
  const Ticket ticket{index, slot.generation};
  heap_.push_back({std::max(when, now_), ++last_order_, ticket});
  std::ranges::push_heap(heap_, later);
  return ticket;
}

bool Schedule::waits(Ticket ticket) const {
  return ticket.generation != 0 && slots_[ticket.slot].taken &&
         slots_[ticket.slot].generation == ticket.generation;
}

void Schedule::free(std::uint32_t index) {
  Slot& slot = slots_[index];
  slot.callback = nullptr;
  slot.taken = false;
  slot.generation += 1;
  free_.push_back(index);
}

void Schedule::cancel(Ticket ticket) {
  if (waits(ticket)) free(ticket.slot);
}

void Schedule::drop_cancelled() {
  while (!heap_.empty() && !waits(heap_.front().ticket)) {
    std::ranges::pop_heap(heap_, later);
    heap_.pop_back();
  }
}

bool Schedule::deliver_next() {
  drop_cancelled();
  if (heap_.empty()) return false;
  std::ranges::pop_heap(heap_, later);
  const Planned next = heap_.back();
  heap_.pop_back();
  if (next.when > now_) delivered_at_once_ = 0;
  now_ = next.when;
  delivered_ += 1;
  delivered_at_once_ += 1;
  const Callback callback = std::move(slots_[next.ticket.slot].callback);
  free(next.ticket.slot);
  callback();
  return true;
}

}  // namespace kurultai::simulation
