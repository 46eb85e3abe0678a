#include "tests/simulation/program.h"

#include <algorithm>
#include <utility>

namespace kurultai::simulation {

namespace {

constexpr Bytes read_at_once = mebibytes(16);

}  // namespace

Schedule::Ticket Program::later(Duration in, std::function<void()> action) {
  return loop_.schedule.after(in,
                              [this, alive = std::weak_ptr(alive_), action = std::move(action)]() mutable {
                                if (alive.expired() || is_over()) return;
                                if (stands()) {
                                  postpone(std::move(action));
                                } else {
                                  action();
                                }
                              });
}

void Program::on_room() {
  goes_on_soon_ = true;
  go_on_in(Duration(0));
}

// Not all of it is needed again.
void Program::on_thaw() {
  returning_ = {swapped.count / 4 * loop_.dice.between(2, 4)};
  if (!waits) on_room();
}

void Program::go_on_in(Duration delay) {
  if (loop_.schedule.waits(going_on_)) return;
  going_on_ = loop_.schedule.after(delay, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired() && !is_over() && !group->frozen && !waits) go_on();
  });
}

void Program::go_on() {
  if (returning_ > Bytes{}) {
    const Bytes part = std::min({returning_, read_at_once, swapped});
    returning_ = part > Bytes{} ? returning_ - kernel_.read_back(*this, part) : Bytes{};
    if (waits || is_over()) return;
    if (returning_ > Bytes{}) return go_on_in(Duration(loop_.dice.between(1, 40)));
  }
  goes_on_soon_ = false;
  take_up();
  while (!stands() && !is_over() && !postponed_.empty()) {
    const auto action = std::move(postponed_.front());
    postponed_.erase(postponed_.begin());
    action();
  }
}

bool Program::leave() {
  if (is_over()) return false;
  kernel_.leave(*this);
  ended_ = true;
  return true;
}

}  // namespace kurultai::simulation
